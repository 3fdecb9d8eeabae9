"""What breaks, when, and what the command line makes of it. Every row ends in a message that says what was
found and what to do, in an exit code, and in a folder that can be read and continued.

    no GPU                       refused before any work, nothing is written
    out of GPU memory            training or scoring: failed, continued when there is room, or begun smaller
    a worker process is killed   failed, the others stopped
    a full disk                  any write: failed, the last checkpoints stand, continued when there is room
    damaged, cut checkpoints     noticed, that part done again
    abandoned, damaged stores    never read: stores are loaded anew
    two processes, one folder    the second is refused; `run --out` takes the next free folder

That the end is reached with the bytes of an undisturbed run is part of every row that is continued. Kills at
any moment are in test_interruption.py, changed inputs in test_resume.py, Ctrl-C at any stage in
tests/simulator/commands/test_cli_signals.py, damaged logs in tests/simulator/commands/test_cli_import.py.
"""

import dataclasses
import errno
import hashlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import OVER, asked_after, call, interrupted_run, settings, whole

from seqvault.schema import BEHAVIOURS
from seqvault.store import open_store
from simulator.execution import checkpoints
from simulator.execution.parallel import WorkerError, run_tasks
from simulator.execution.progress import Silent
from simulator.results.read import read_run, read_sweep

# ---- no GPU ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "needed"), [("cuda", 1), ("cuda:3", 4)])
@pytest.mark.parametrize("command", ["run", "sweep", "train", "profile"])
def test_an_absent_gpu_is_refused_before_any_work(
    command: str, device: str, needed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("simulator.inputs.prepare.make_world", None)  # the first thing to be worked on
    arguments = settings(f"experiment.device={device}")
    told = call(command, *arguments, "--out", tmp_path / "out", code=1)
    assert f"device '{device}' is absent: found 0 GPUs here, expected at least {needed}" in told
    assert "experiment.device" in told
    assert not list(tmp_path.iterdir())


def test_a_run_that_began_on_a_gpu_is_not_continued_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    manifest = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(manifest.replace('"device": "cpu"', '"device": "cuda:0"'))
    assert "device: cuda:0 when it began, cpu now" in call("run", "--resume", out, code=1)


# ---- out of memory -----------------------------------------------------------------------------------


@contextmanager
def gpu_memory_for(lookups: int, *, scoring: bool) -> Iterator[None]:
    """torch's own exception where every model looks up its embeddings, in training or in scoring."""
    left = [lookups]

    def limited(plain: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def counted(*arguments: Any, **options: Any) -> torch.Tensor:
            left[0] -= torch.is_inference_mode_enabled() == scoring
            if left[0] < 0:
                raise torch.cuda.OutOfMemoryError(
                    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 "
                    "GiB of which 3.00 MiB is free. Including non-PyTorch memory, this process has 79.0 GiB "
                    "in use. If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF."
                )
            return plain(*arguments, **options)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "embedding", limited(torch.nn.functional.embedding))
        patch.setattr(torch.Tensor, "index_select", limited(torch.Tensor.index_select))
        yield


@pytest.mark.parametrize(
    ("scoring", "lookups", "says"),
    [(False, 30, "training on 64 requests at a time"), (True, 300, "out of memory with one request of")],
)
def test_a_gpu_out_of_memory_fails_the_run_which_is_continued_or_begun_smaller(
    scoring: bool, lookups: int, says: str, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with gpu_memory_for(lookups, scoring=scoring):
        told = call("run", *settings(), "--out", out, code=1)
    assert says in told
    assert "Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB" in told
    assert f"continue it: laser-ab run --resume {out}" in told
    assert f"laser-ab run {out / 'experiment.toml'} --set arms.NAME.training.batch=N" in told
    assert read_run(out).status == "failed"
    assert "DeviceMemoryError" in read_run(out).manifest["error"]
    call("run", out / "experiment.toml", "--set", "arms.treatment.training.batch=32", "--dry-run")
    call("run", "--resume", out)
    assert whole(out) == undisturbed


def test_a_sweep_out_of_gpu_memory_is_continued(undisturbed_sweep: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    with gpu_memory_for(300, scoring=True):
        told = call("sweep", *settings(), *OVER, "--out", out, code=1)
    assert f"laser-ab sweep --resume {out}" in told
    assert read_sweep(out).status == "failed"
    call("sweep", "--resume", out)
    assert whole(out) == undisturbed_sweep


def killed_or_busy(killed: bool) -> None:
    """What the system does to the largest process; the other would work for longer than a test may take."""
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(3600.0)


def test_a_killed_worker_ends_the_others_and_is_reported() -> None:
    with pytest.raises(WorkerError, match=r"stage serve was killed.*out of memory.*fewer than 2 --jobs"):
        run_tasks(killed_or_busy, [False, True], 2, Silent(), "serve")
    assert multiprocessing.active_children() == []


# ---- a full disk -------------------------------------------------------------------------------------


@contextmanager
def full_device(folder: Path, room_kib: int) -> Iterator[None]:
    """A file system with so much room, until the block is left: then a large file in it is removed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount command")
    if done.returncode != 0:
        pytest.skip("mounting is not permitted here")
    (folder / "ballast").write_bytes(bytes((32 * 1024 - room_kib) * 1024))
    yield
    (folder / "ballast").unlink()


@contextmanager
def limited_files(folder: Path, room_kib: int) -> Iterator[None]:
    """No file may grow beyond so much, by the kernel's own limit; needs no rights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_kib * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that may become a file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    yield folder
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


Shortage = Callable[[Path, int], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("shortage", "room_kib", "says"),
    [
        (full_device, 700, "full disk"),  # a training's second checkpoint
        (full_device, 1220, "full disk"),  # an arm's scores; where a store is full: the next test
        (limited_files, 100, "File too large"),
    ],
)
def test_checkpoints_stand_when_the_disk_is_full_and_the_run_is_continued_when_it_is_not(
    shortage: Shortage,
    room_kib: int,
    says: str,
    undisturbed: dict[str, bytes],
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    out = disk / "run"
    with shortage(disk, room_kib):
        told = call("run", *settings(), "--out", out, code=1)
        assert read_run(out).status in ("failed", "interrupted")  # the disk may have no room for "failed"
        assert says in told
        assert f"laser-ab run --resume {out}" in told
        kept = kept_checkpoints(out)
        assert all(is_whole(path) for path in kept)
    call("run", "--resume", out)
    assert whole(out) == undisturbed


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is what its checksum says."""
    content = path.read_bytes()
    return hashlib.sha256(content[40:]).digest() == content[8:40]


def kept_checkpoints(out: Path) -> list[Path]:
    inside = [path for path in (out / "work").rglob("*") if path.is_file()]
    return [path for path in inside if path.name != "experiment.toml" and "store-" not in str(path)]


@pytest.mark.parametrize(
    ("shortage", "room_kib", "says"),
    [
        (full_device, 1300, "full disk"),  # an arm's scores
        (limited_files, 100, "File too large"),
    ],
)
def test_a_sweep_on_a_full_disk_leaves_nothing_half_written_and_goes_on_when_there_is_room(
    shortage: Shortage,
    room_kib: int,
    says: str,
    undisturbed_sweep: dict[str, bytes],
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    out = disk / "sweep"
    with shortage(disk, room_kib):
        told = call("sweep", *settings(), *OVER, "--out", out, code=1)
        assert says in told
        assert f"laser-ab sweep --resume {out}" in told
        assert read_sweep(out).status in ("failed", "interrupted")
        assert all(is_whole(path) for path in kept_checkpoints(out))
    call("sweep", "--resume", out)
    assert whole(out) == undisturbed_sweep


@pytest.mark.parametrize(("kind", "writes"), [("run", (30, 120, 60)), ("sweep", (30, 90, 60, 12))])
def test_a_disk_that_fills_up_anywhere_fails_the_work_which_resumes(
    kind: str,
    writes: tuple[int, ...],
    undisturbed: dict[str, bytes],
    undisturbed_sweep: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_S", 0.0)
    real = os.fsync
    out = tmp_path / kind
    for most in writes:
        left = [most]

        def full(handle: int, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        monkeypatch.setattr(os, "fsync", full)
        begin = [*settings(), *(OVER if kind == "sweep" else []), "--out", out]
        told = call(kind, *(["--resume", out] if out.exists() else begin), code=1)
        assert "full disk" in told or "the disk is full" in told
        assert f"laser-ab {kind} --resume {out}" in told
        assert (read_sweep if kind == "sweep" else read_run)(out).status in ("interrupted", "failed")
    monkeypatch.setattr(os, "fsync", real)
    call(kind, "--resume", out)
    assert whole(out) == {"run": undisturbed, "sweep": undisturbed_sweep}[kind]


# ---- damaged checkpoints, abandoned stores -----------------------------------------------------------


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_damaged_checkpoints_cost_work_and_change_nothing(
    undisturbed: dict[str, bytes], last_look: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = interrupted_run(tmp_path / "run", last_look)
    kept = [*kept_checkpoints(out), *(out / "models").glob("*.ckpt")]
    assert {path.suffix for path in kept} >= {".train", ".trained", ".ckpt"}
    assert any(path.name.startswith("scores-") for path in kept)
    for index, path in enumerate(kept):
        path.write_bytes((cut, flipped)[index % 2](path.read_bytes()))
    call("run", "--resume", out)
    assert whole(out) == undisturbed
    assert "It is ignored, and its work done again." in caplog.text


def test_stores_that_a_killed_process_left_are_never_read(
    undisturbed: dict[str, bytes], last_look: int, tmp_path: Path
) -> None:
    out = interrupted_run(tmp_path / "run", last_look)
    for kind, arm in (("lastn", "control"), ("seqvault", "treatment")):
        (arm_folder,) = (out / "work" / "arms").glob(f"{arm}-*")
        for left, damage in (("store-whole", bytes), ("store-cut", cut), ("store-flipped", flipped)):
            fill_with_lies(kind, arm_folder / left / "profile")
            for path in [path for path in (arm_folder / left).rglob("*") if path.is_file()]:
                if path.stat().st_size:
                    path.write_bytes(damage(path.read_bytes()))
    call("run", "--resume", out)
    assert whole(out) == undisturbed


def fill_with_lies(kind: str, folder: Path) -> None:
    """A store of behaviours that nobody had."""
    folder.mkdir(parents=True)
    users = np.repeat(np.arange(120, dtype=np.uint64), 5)
    with open_store(kind, folder) as store:
        store.append(users, {c.name: np.ones(len(users), c.dtype) for c in BEHAVIOURS.columns})


# ---- two processes, one folder -----------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from simulator.results.run_folder import RunWriter, SweepWriter

with {"run": RunWriter, "sweep": SweepWriter}[sys.argv[1]].reopen(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(kind: str, out: Path) -> Iterator[None]:
    program = [sys.executable, "-c", HOLD, kind, str(out)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_folder_that_another_process_works_in_is_refused_and_left_alone(kind: str, tmp_path: Path) -> None:
    out = tmp_path / kind
    begin = [kind, *settings(), "--out", out]
    with asked_after(2):
        call(*begin, code=130)
    with held_by_another_process(kind, out):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        told = call(kind, "--resume", out, code=1)
        assert f"{out}: found a {kind} that is still running, expected an interrupted one" in told
        assert "Let it end" in told
        with asked_after(2):
            assert f"--resume {out}-2" in call(*begin, code=130)  # a new one begins beside it
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with asked_after(2):
        assert f"--resume {out}" in call(kind, "--resume", out, code=130)


def test_of_two_processes_that_resume_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = interrupted_run(tmp_path / "run", 2)
    found = read_run(out)
    with held_by_another_process("run", out):
        # It took the folder between our look at the status and our lock.
        interrupted = dataclasses.replace(found, status="interrupted")
        monkeypatch.setattr("simulator.experiment.run.read_run", lambda _: interrupted)
        monkeypatch.setattr("simulator.results.read.read_run", lambda _: interrupted)
        assert "locked by a running process" in call("run", "--resume", out, code=1)
