"""Whole processes killed or asked to end: the folder reads as interrupted, and --resume ends it as if nothing
had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_runs import ALONE, OVER, ROOT, settings, whole

from simulator.results.read import read_run, read_sweep

PROGRAM = [sys.executable, str(Path(__file__).parents[1] / "often.py")]
# The tests' own settings must not reach the program.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("LASER_AB_")}
ENVIRONMENT["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
ENVIRONMENT |= ALONE
WAIT_S = 900  # for what comes, on a machine that is busy

TRAINING, SCORING, CELLS = (
    "work/training/laser*.train",
    "work/arms/treatment-*/scores-*",
    "cells/*/scorecard.json",
)


def command(kind: str, out: Path, jobs: int = 1) -> list[str]:
    """A fresh run or sweep, or the one that continues what is there."""
    if out.exists():
        return [kind, "--resume", str(out), "--jobs", str(jobs)]
    over = OVER if kind == "sweep" else []
    return [kind, *settings(), *over, "--out", str(out), "--jobs", str(jobs)]


def hear_ctrl_c() -> None:
    # Whoever runs the tests in the background is deaf to it, and so would be the program.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def started(arguments: list[str], cwd: Path, hold_at: str = "") -> Iterator[subprocess.Popen[str]]:
    """The program in a session of its own, so that a signal can be sent to all its processes.

    Args:
        hold_at: see often.py.
    """
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT | {"HOLD_AT": hold_at},
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # nothing where it has ended


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    """Until a file of that pattern is there."""
    deadline_s = time.monotonic() + WAIT_S
    while not any(folder.glob(pattern)):
        assert process.poll() is None, f"ended before there was any {pattern}"
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def kill_when(pattern: str, kind: str, out: Path, jobs: int = 1) -> None:
    """Begin or continue, and kill the parent process with signal 9 when a file of that pattern is there."""
    with started(command(kind, out, jobs), out.parent, pattern) as process:
        wait_for(out, pattern, process)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def kill_after(moment_s: float, kind: str, out: Path, jobs: int) -> None:
    """Begin or continue, and kill it some time after it has its folder; unless it ended before."""
    with started(command(kind, out, jobs), out.parent) as process:
        wait_for(out, "manifest.json", process)
        try:
            process.wait(moment_s)
        except subprocess.TimeoutExpired:
            process.kill()


def finish(kind: str, out: Path, jobs: int = 1) -> dict[str, bytes]:
    """Begin or continue, to the end; what it promises to be the same."""
    with started(command(kind, out, jobs), out.parent) as process:
        _, told = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, told
    return whole(out)


def check_nobody_works_in(folder: Path) -> None:
    """Workers leave with their parent."""
    deadline_s = time.monotonic() + WAIT_S
    while left := processes_in(str(folder)):
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)


def processes_in(folder: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if str(path.readlink()).startswith(folder):
                found.append((path.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_run_killed_twice_takes_its_workers_along_and_ends_with_the_same_bytes(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    kill_when(TRAINING, "run", tmp_path / "run", jobs=2)
    assert read_run(tmp_path / "run").status == "interrupted"
    check_nobody_works_in(tmp_path)
    kill_when(SCORING, "run", tmp_path / "run")
    assert finish("run", tmp_path / "run") == undisturbed


@pytest.mark.slow
def test_a_sweep_killed_twice_ends_with_the_same_bytes(
    undisturbed_sweep: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    kill_when(SCORING, "sweep", out)
    kill_when(CELLS, "sweep", out)
    assert read_sweep(out).status == "interrupted"
    assert finish("sweep", out) == undisturbed_sweep


def test_ctrl_c_and_sigterm_end_at_a_checkpoint_and_say_how_to_continue(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for number, pattern, jobs in ((signal.SIGINT, TRAINING, 2), (signal.SIGTERM, SCORING, 1)):
        with started(command("run", out, jobs), tmp_path, pattern) as process:
            wait_for(out, pattern, process)
            os.killpg(process.pid, number)  # as a terminal does: to every process
            _, told = process.communicate(timeout=WAIT_S)
        assert process.returncode == 130
        assert told.endswith(f"what was computed is kept. Continue it:\n  laser-ab run --resume {out}\n")
        assert "Traceback" not in told
        assert read_run(out).status == "interrupted"
        assert not list(out.glob("work/arms/*/store-*"))


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_kills_at_ten_random_moments(
    kind: str, jobs: int, undisturbed: dict[str, bytes], undisturbed_sweep: dict[str, bytes], tmp_path: Path
) -> None:
    begun_s = time.monotonic()
    finish(kind, tmp_path / "whole", jobs)
    whole_s = time.monotonic() - begun_s
    moments = random.Random(f"{kind} {jobs}")
    for k in range(5):
        out = tmp_path / str(k) / kind  # scorecards name the folder
        out.parent.mkdir()
        for _ in range(2):
            kill_after(moments.uniform(0.0, 0.9 * whole_s), kind, out, jobs)
        assert finish(kind, out, jobs) == (undisturbed if kind == "run" else undisturbed_sweep)
