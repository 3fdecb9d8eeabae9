"""A run or sweep that was interrupted, whenever and however, ends as if nothing had happened."""

import errno
import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import EXAMPLES, GRID, asked_after, call, interrupted_run, small, whole

from simulator.arms.live import LiveCalls
from simulator.execution import fingerprint, interrupts
from simulator.execution.interrupts import Interrupted
from simulator.experiment.run import resume_experiment, run_experiment
from simulator.results.axes import Axis
from simulator.results.read import read_run, read_sweep
from simulator.results.run_folder import RunWriter
from simulator.serving.profile import ServiceProfile, load
from simulator.whatif.sweep import resume_sweep, run_sweep


def test_a_run_interrupted_again_and_again_ends_with_the_same_bytes(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out, attempts = interrupted_run(tmp_path / "run", 20), 1
    while read_run(out).status != "finished":
        try:
            with asked_after(25):
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
            with asked_after(30):
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
    plain = sweep.sample

    def counted(cell, outcome, name):  # type: ignore[no-untyped-def]
        computed.append(name)
        if len(computed) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(cell, outcome, name)

    monkeypatch.setattr(sweep, "sample", counted)
    with pytest.raises(OSError, match="space") as error:
        run_sweep(small(), GRID, tmp_path / "sweep")
    assert f"laser-ab sweep --resume {tmp_path / 'sweep'}" in error.value.__notes__[0]
    assert read_sweep(tmp_path / "sweep").status == "failed"
    computed.append("")
    resume_sweep(tmp_path / "sweep")
    assert [name[-3:] for name in computed] == ["000", "001", "", "001", "002"]
    assert whole(tmp_path / "sweep") == undisturbed_sweep


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
        patch.setattr("simulator.experiment.run.served_cells", None)
        assert whole(resume_experiment(tmp_path / "run")) == undisturbed


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    (out / "scorecard.json").write_text("{}", encoding="utf-8")
    ended = {"status": "finished", "files": {"scorecard.json": {"bytes": 2}}}
    (out / "manifest.json").write_text(json.dumps({**read_run(out).manifest, **ended}), encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert resume_experiment(out) == out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


# ---- what it began with ------------------------------------------------------------------------------


def refused(kind: str, out: Path, code: int = 1) -> str:
    """The command line's answer to `--resume`, which leaves the folder as it is."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    told = call(kind, "--resume", out, code=code)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    return told


def begun(kind: str, out: Path, *arguments: object) -> Path:
    """A run or sweep of the command line that was interrupted as soon as it had its folder."""
    with asked_after(2):
        call(kind, *arguments, "--out", out, code=130)
    return out


def test_an_edited_file_is_refused_with_the_difference(tmp_path: Path) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    path = out / "experiment.toml"
    original = path.read_text()
    path.write_text(original.replace("load = 0.3", "load = 0.7"))
    told = refused("run", out)
    assert "-load = 0.3" in told
    assert "+load = 0.7" in told
    assert f"cp {out / 'work' / 'experiment.toml'} {path}" in told
    assert f"laser-ab run {path} --out DIR" in told
    path.write_text(original)
    with asked_after(2):
        call("run", "--resume", out, code=130)


def test_a_changed_profile_is_refused(tmp_path: Path) -> None:
    shipped = small().experiment.profile_path.read_text()
    profile = tmp_path / "mine.json"
    profile.write_text(shipped)
    out = interrupted_run(tmp_path / "run", 2, small(f"experiment.profile={profile}"))
    profile.write_text(shipped + " ")
    assert re.search(rf"{profile}: SHA-256 \w+ when it began, SHA-256 \w+ now", refused("run", out))
    profile.unlink()
    assert re.search(rf"{profile}: SHA-256 \w+ when it began, missing now", refused("run", out))


def test_a_changed_file_that_only_an_axis_names_is_refused(tmp_path: Path) -> None:
    shipped = small().experiment.profile_path.read_text()
    profiles = tuple(str(tmp_path / name) for name in ("one.json", "other.json"))
    for profile in profiles:
        Path(profile).write_text(shipped)
    with pytest.raises(Interrupted), asked_after(2):
        run_sweep(small(), [Axis("experiment.profile", profiles)], tmp_path / "sweep")
    for profile in profiles:
        Path(profile).write_text(shipped + " ")
        told = refused("sweep", tmp_path / "sweep")
        assert re.search(rf"{profile}: SHA-256 \w+ when it began, SHA-256 \w+ now", told)
        assert told.count("when it began") == 1
        Path(profile).write_text(shipped)


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_changed_or_missing_file_of_the_log_is_refused(
    kind: str, kuairand_log: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    shutil.copytree(kuairand_log, log)
    out = begun(kind, tmp_path / kind, EXAMPLES / "kuairand.toml", "--set", f"traffic.log={log}")
    files = sorted(log.iterdir())
    assert len(files) == 8
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        told = refused(kind, out)
        assert re.search(rf"{path}: SHA-256 \w+ when it began, SHA-256 \w+ now", told)
        assert told.count("when it began") == 1
        path.unlink()
        assert re.search(rf"{path}: SHA-256 \w+ when it began, missing now", refused(kind, out))
        path.write_bytes(content)
    log.rename(tmp_path / "elsewhere")
    told = refused(kind, out)
    assert all(f"{path}: SHA-256" in told for path in files)
    assert "Bring them back, or start it again" in told
    (tmp_path / "elsewhere").rename(log)
    with asked_after(2):
        call(kind, "--resume", out, code=130)


def test_a_log_that_changed_since_its_import_is_refused_before_a_run_begins(
    kuairand_log: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    shutil.copytree(kuairand_log, log)
    (log / "requests.parquet").write_bytes(b"PAR1")
    command = ["run", EXAMPLES / "kuairand.toml", "--set", f"traffic.log={log}", "--out", tmp_path / "run"]
    told = call(*command, code=2)
    assert "requests.parquet: 4 bytes, expected " in told
    assert "import the log anew" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("package", ["laser-ab", "torch", "numpy", "scipy", "numba", "simpy", "pyarrow"])
def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    now = fingerprint.versions() | {package: "99.0"}
    monkeypatch.setattr(fingerprint, "versions", lambda: now)
    told = refused("run", out)
    assert re.search(rf"{package}: \d\S* when it began, 99\.0 now", told)
    assert told.count("when it began") == 1


def test_other_code_of_ours_is_refused(tmp_path: Path) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    manifest = read_run(out).manifest
    assert set(manifest["inputs"]["code"]) == {"laser", "seqvault", "simulator"}
    for package in manifest["inputs"]["code"]:
        other = json.loads(json.dumps(manifest))
        other["inputs"]["code"][package] = "0" * 64
        (out / "manifest.json").write_text(json.dumps(other))
        told = refused("run", out)
        assert re.search(rf"code of {package}: SHA-256 0{{12}} when it began, SHA-256 \w+ now", told)
        assert told.count("when it began") == 1


def test_edited_code_of_an_arms_own_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "path" / "my_rankers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "mine.py").write_text("from laser.models.din import Din as Mine\n")
    monkeypatch.syspath_prepend(package.parent)
    config = small("arms.treatment.model=my_rankers.mine:Mine", "experiment.service_times=live")
    out = interrupted_run(tmp_path / "run", 2, config)
    (package / "mine.py").write_text("from laser.models.base import Base as Mine\n")
    assert re.search(r"code of my_rankers: SHA-256 \w+ when it began, SHA-256 \w+ now", refused("run", out))
    shutil.rmtree(package)
    monkeypatch.delitem(sys.modules, "my_rankers")
    importlib.invalidate_caches()
    assert re.search(r"code of my_rankers: SHA-256 \w+ when it began, missing now", refused("run", out))


def test_code_is_identified_by_names_and_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "told_by_contents"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2"), ("sub/b.py", "2")):
        shutil.rmtree(package)
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text(text)
        (package / "notes.txt").write_text(name)
        importlib.invalidate_caches()
        seen.append(fingerprint.code_digest("told_by_contents"))
    assert len(set(seen)) == 4
    (package / "notes.txt").unlink()
    assert fingerprint.code_digest("told_by_contents") == seen[-1]
    (tmp_path / "told_by_itself.py").write_text("1")
    assert fingerprint.code_digest("told_by_itself") not in (*seen, "missing")


def test_a_live_run_is_not_continued_on_another_machine(tmp_path: Path) -> None:
    for times, says in (("live", "cpu: another when it began"), ("profile", "")):
        out = interrupted_run(tmp_path / times, 2, small(f"experiment.service_times={times}"))
        manifest = read_run(out).manifest
        hardware = {**manifest["hardware"], "cpu": "another"}
        (out / "manifest.json").write_text(json.dumps({**manifest, "hardware": hardware}))
        with asked_after(2):
            assert says in call("run", "--resume", out, code=1 if says else 130)


def test_another_schema_or_no_record_is_refused(tmp_path: Path) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    manifest = read_run(out).manifest
    (out / "manifest.json").write_text(json.dumps({**manifest, "inputs": None}))
    assert "no record of its inputs" in refused("run", out)
    (out / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    assert "schema version 99" in refused("run", out)


# ---- live arms ---------------------------------------------------------------------------------------


def test_a_live_run_keeps_finished_arms_and_serves_the_others_from_their_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.arms import serve

    config = small("experiment.service_times=live", "traffic.world.requests=200")
    out, calibrated, served = tmp_path / "run", [], []
    serve_live = serve.serve_live

    def second_fails(cell: Any, arm: Any, *rest: Any) -> Any:
        served.append(arm.name)
        if len(served) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return serve_live(cell, arm, *rest)

    def known(*arguments: object) -> ServiceProfile:
        """What a calibration measures, without measuring; test_run.py has a run that does."""
        calibrated.append(arguments)
        return load(small().experiment.profile_path)

    monkeypatch.setattr("simulator.experiment.cells.calibrate", known)
    monkeypatch.setattr(serve, "serve_live", second_fails)
    with pytest.raises(OSError, match="Input/output"):
        run_experiment(config, out)
    kept = read_run(out).manifest["time_compression"]
    resume_experiment(out)
    assert served == ["control", "treatment", "treatment"]
    assert len(calibrated) == 1  # for all arms
    run = read_run(out)
    assert run.status == "finished"
    assert run.manifest["time_compression"] == kept


def test_a_live_arm_ends_before_its_next_read_when_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    transport = LiveCalls.transport

    def asked_meanwhile(self, payload):  # type: ignore[no-untyped-def]
        moved.append(payload)
        monkeypatch.setattr(interrupts, "asked", lambda: True)
        return transport(self, payload)

    config = small("experiment.service_times=live", "traffic.world.requests=200")
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            "simulator.experiment.cells.calibrate", lambda *a: load(small().experiment.profile_path)
        )
        patch.setattr(LiveCalls, "transport", asked_meanwhile)
        with pytest.raises(Interrupted):
            run_experiment(config, out)
    assert len(moved) == 1
    assert read_run(out).status == "interrupted"
