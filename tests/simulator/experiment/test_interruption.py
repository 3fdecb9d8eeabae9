"""A run killed at any moment reads as interrupted, and the same command starts afresh beside it."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import EXAMPLES, SMALL

from simulator.results.read import read_run

COMMAND = [sys.executable, "-m", "simulator.cli", "run", str(EXAMPLES / "demo.toml")]
SETTINGS = [part for pair in SMALL for part in ("--set", pair)]


def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [*COMMAND, *SETTINGS, "--out", str(out), *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=out.parent,
    )
    deadline_s = time.monotonic() + 120
    while not (out / "manifest.json").exists():
        assert process.poll() is None, "the run ended before its manifest was there"
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return process


def finish(out: Path) -> float:
    """Run to the end; seconds from the manifest to the end."""
    process = start(out)
    begun_s = time.monotonic()
    assert process.wait(timeout=250) == 0
    return time.monotonic() - begun_s


def kill_at(out: Path, moment_s: float, *more: str) -> None:
    process = start(out, *more)
    time.sleep(moment_s)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)


def report(out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulator.cli", "report", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def check_killed(out: Path) -> None:
    run = read_run(out)
    assert run.status == "interrupted"
    told = report(out)
    assert "interrupted" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def test_a_killed_run_is_interrupted_and_starts_afresh_beside_itself(tmp_path: Path) -> None:
    kill_at(tmp_path / "run", 0.5)
    check_killed(tmp_path / "run")
    finish_beside(tmp_path)


def finish_beside(folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *SETTINGS, "--out", str(folder / "run")],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert read_run(folder / "run-2").status == "finished"
    assert read_run(folder / "run").status == "interrupted"
    assert "run-2" in done.stdout


def test_killed_workers_leave_with_their_parent(tmp_path: Path) -> None:
    kill_at(tmp_path / "run", 3.0, "--jobs", "2")
    deadline_s = time.monotonic() + 20
    while left := processes_naming(str(tmp_path)):
        assert time.monotonic() < deadline_s, left
        time.sleep(0.2)


def processes_naming(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if str(path.readlink()).startswith(text):
                found.append((path.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_at_ten_random_moments(tmp_path: Path) -> None:
    whole_s = finish(tmp_path / "whole")
    moments = random.Random(7)
    for k in range(10):
        out = tmp_path / f"killed-{k}"
        kill_at(out, moments.uniform(0.0, 0.95 * whole_s))
        check_killed(out)
