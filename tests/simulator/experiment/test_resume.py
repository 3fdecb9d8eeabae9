"""A run or sweep that was interrupted, whenever and however, ends as if nothing had happened."""

import dataclasses
import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_runs import small, table_bytes

from simulator.experiment import checkpoints, interrupts, resume
from simulator.experiment.config import ExperimentConfig
from simulator.experiment.interrupts import Interrupted
from simulator.experiment.live import ArmCalls
from simulator.experiment.resume import ResumeError
from simulator.experiment.run import resume_experiment, run_experiment
from simulator.results.errors import ResultsError
from simulator.results.read import read_run, read_sweep
from simulator.results.run_folder import RunWriter
from simulator.serving.profile import load
from simulator.whatif.sweep import resume_sweep, run_sweep

GRID = "0.5:4.5:2"


class Countdown:
    """A flag that is set from the n-th look at it on."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@contextmanager
def asked_after(looks: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interrupts, "_flag", Countdown(looks))
        yield


def interrupted_run(out: Path, looks: int, config: ExperimentConfig | None = None) -> Path:
    with asked_after(looks), pytest.raises(Interrupted) as told:
        run_experiment(config or small(), out)
    assert told.value.command == f"laser-ab run --resume {out}"
    assert read_run(out).status == "interrupted"
    return out


def whole(folder: Path) -> dict[str, bytes]:
    """Everything a finished folder promises to be the same."""
    assert not (folder / "work").exists()
    assert not list(folder.rglob(".*"))
    cards = {path.name: path.read_bytes() for path in folder.glob("scorecard.json")}
    return table_bytes(folder) | cards


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole(run_experiment(small(), tmp_path_factory.mktemp("undisturbed") / "run"))


@pytest.fixture(scope="module")
def undisturbed_sweep(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole(run_sweep(small(), GRID, tmp_path_factory.mktemp("undisturbed") / "sweep"))


def test_a_run_interrupted_again_and_again_ends_with_the_same_bytes(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out, attempts = interrupted_run(tmp_path / "run", 20), 1
    while read_run(out).status != "finished":
        try:
            with asked_after(40):
                resume_experiment(out)
        except Interrupted:
            attempts += 1
            assert attempts < 20
    assert attempts > 3
    assert whole(out) == undisturbed
    assert len(read_run(out).manifest["resumed"]) == attempts


def test_a_sweep_interrupted_again_and_again_ends_with_the_same_bytes(
    undisturbed_sweep: dict[str, bytes], tmp_path: Path
) -> None:
    out, attempts = tmp_path / "sweep", 0
    while not out.exists() or read_sweep(out).status != "finished":
        try:
            with asked_after(45):
                resume_sweep(out) if out.exists() else run_sweep(small(), GRID, out)
        except Interrupted:
            attempts += 1
            assert attempts < 20
    assert attempts > 2
    assert whole(out) == undisturbed_sweep


def test_cells_that_were_written_are_not_computed_again(
    undisturbed_sweep: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.whatif import sweep

    computed: list[str] = []
    plain = sweep.scorecard

    def counted(plan, cell, name, extra):  # type: ignore[no-untyped-def]
        computed.append(name)
        if len(computed) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(plan, cell, name, extra)

    monkeypatch.setattr(sweep, "scorecard", counted)
    with pytest.raises(OSError, match="space") as error:
        run_sweep(small(), GRID, tmp_path / "sweep")
    assert f"laser-ab sweep --resume {tmp_path / 'sweep'}" in error.value.__notes__[0]
    assert read_sweep(tmp_path / "sweep").status == "failed"
    computed.append("")
    resume_sweep(tmp_path / "sweep")
    assert [name[-3:] for name in computed] == ["000", "001", "", "001", "002"]
    assert whole(tmp_path / "sweep") == undisturbed_sweep


def test_damaged_checkpoints_cost_work_and_change_nothing(
    undisturbed: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = interrupted_run(tmp_path / "run", 148)
    kept = [path for path in (out / "work").rglob("*") if path.is_file() and path.suffix != ".toml"]
    kept += (out / "models").glob("*.ckpt")
    assert {path.suffix for path in kept} >= {".train", ".trained", ".ckpt"}
    assert any(path.name.startswith("scores-") for path in kept)
    for index, path in enumerate(kept):
        content = path.read_bytes()
        middle = len(content) // 2
        cut = content[:middle]
        path.write_bytes(cut if index % 2 else cut + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert whole(resume_experiment(out)) == undisturbed
    assert "It is ignored, and its work done again." in caplog.text


def test_a_disk_that_fills_up_anywhere_fails_the_run_and_resumes(
    undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    real = os.fsync
    out = tmp_path / "run"
    for writes in (30, 120, 60):
        left = [writes]

        def full(handle: int, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises((ResultsError, OSError), match=r"full disk|No space") as error:
            resume_experiment(out) if out.exists() else run_experiment(small(), out)
        assert f"laser-ab run --resume {out}" in error.value.__notes__[0]
        assert read_run(out).status in ("interrupted", "failed")
    monkeypatch.setattr(os, "fsync", real)
    assert whole(resume_experiment(out)) == undisturbed


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount command")
    if done.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_too_small_for_the_checkpoints_is_told_and_a_larger_one_continues(
    undisturbed: dict[str, bytes], little_disk: Path
) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        run_experiment(small(), little_disk / "run")
    assert "--resume" in error.value.__notes__[0]
    assert read_run(little_disk / "run").status in ("interrupted", "failed")
    subprocess.run(["mount", "-o", "remount,size=200m", str(little_disk)], check=True)
    assert whole(resume_experiment(little_disk / "run")) == undisturbed


def test_a_run_killed_while_it_cleaned_up_is_only_finished(
    undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(writer: RunWriter) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(small(), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("simulator.experiment.run.make_plan", None)
        assert whole(resume_experiment(tmp_path / "run")) == undisturbed


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    (out / "scorecard.json").write_text("{}", encoding="utf-8")
    ended = {"status": "finished", "files": {"scorecard.json": {"bytes": 2}}}
    (out / "manifest.json").write_text(json.dumps({**read_run(out).manifest, **ended}), encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert resume_experiment(out) == out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_run_that_another_process_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    with RunWriter.reopen(out):
        with pytest.raises(ResumeError, match="still running"):
            resume_experiment(out)
        # Also where it took the folder between our look at the status and our lock.
        found = read_run(out)
        monkeypatch.setattr(
            "simulator.experiment.run.read_run", lambda _: dataclasses.replace(found, status="interrupted")
        )
        with pytest.raises(ResultsError, match="locked by a running process"):
            resume_experiment(out)


def test_an_edited_file_is_refused_with_the_difference(tmp_path: Path) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    path = out / "experiment.toml"
    original = path.read_text()
    path.write_text(original.replace("load = 0.3", "load = 0.7"))
    with pytest.raises(ResumeError) as error:
        resume_experiment(out)
    assert "-load = 0.3" in str(error.value)
    assert "+load = 0.7" in str(error.value)
    assert f"cp {out / 'work' / 'experiment.toml'} {path}" in str(error.value)
    assert f"laser-ab run {path} --out DIR" in str(error.value)
    assert read_run(out).status == "interrupted"
    path.write_text(original)
    with asked_after(2), pytest.raises(Interrupted):
        resume_experiment(out)


def test_a_changed_profile_is_refused(tmp_path: Path) -> None:
    shipped = small().experiment.profile_path.read_text()
    profile = tmp_path / "mine.json"
    profile.write_text(shipped)
    out = interrupted_run(tmp_path / "run", 2, small(f"experiment.profile={profile}"))
    profile.write_text(shipped + " ")
    with pytest.raises(ResumeError, match=rf"{profile}: SHA-256 \w+ when it began, SHA-256 \w+ now"):
        resume_experiment(out)
    profile.unlink()
    with pytest.raises(ResumeError, match=rf"{profile}: SHA-256 \w+ when it began, missing now"):
        resume_experiment(out)


@pytest.mark.parametrize("package", ["laser-ab", "torch", "numpy"])
def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    now = resume.versions() | {package: "99.0"}
    monkeypatch.setattr(resume, "versions", lambda: now)
    with pytest.raises(ResumeError, match=rf"{package}: .* when it began, 99\.0 now"):
        resume_experiment(out)


def test_another_schema_or_no_record_is_refused(tmp_path: Path) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    manifest = read_run(out).manifest
    (out / "manifest.json").write_text(json.dumps({**manifest, "inputs": None}))
    with pytest.raises(ResumeError, match="no record of its inputs"):
        resume_experiment(out)
    (out / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(ResultsError, match="schema version 99"):
        resume_experiment(out)


def test_a_live_run_keeps_finished_arms_and_serves_the_others_from_their_beginning(tmp_path: Path) -> None:
    config = small("experiment.service_times=live", "traffic.world.requests=200")
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        from simulator.experiment import arms

        serve, served = arms.serve_live, []

        def second_fails(prepared, name, *rest):  # type: ignore[no-untyped-def]
            served.append(name)
            if len(served) == 2:
                raise OSError(errno.EIO, "Input/output error")
            return serve(prepared, name, *rest)

        patch.setattr(arms, "serve_live", second_fails)
        with pytest.raises(OSError, match="Input/output"):
            run_experiment(config, out)
        kept = read_run(out).manifest["time_compression"]
        resume_experiment(out)
    assert served == ["control", "treatment", "treatment"]
    run = read_run(out)
    assert run.status == "finished"
    assert run.manifest["time_compression"] == kept  # one calibration for all arms


def test_a_live_arm_ends_before_its_next_read_when_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    transport = ArmCalls.transport

    def asked_meanwhile(self, payload):  # type: ignore[no-untyped-def]
        moved.append(payload)
        monkeypatch.setattr(interrupts, "asked", lambda: True)
        return transport(self, payload)

    config = small("experiment.service_times=live", "traffic.world.requests=200")
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("simulator.experiment.run.calibrate", lambda *a: load(small().experiment.profile_path))
        patch.setattr(ArmCalls, "transport", asked_meanwhile)
        with pytest.raises(Interrupted):
            run_experiment(config, out)
    assert len(moved) == 1
    assert read_run(out).status == "interrupted"
