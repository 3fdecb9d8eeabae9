"""Whole runs through the command line, tiny ones."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import ALONE

from simulator.arms.plan import make_plan
from simulator.config.load import load_config, to_toml
from simulator.experiment.carry import manifest
from simulator.results.read import read_run
from simulator.results.run_folder import RunWriter

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
LIVE = str(ROOT / "examples" / "live.toml")
TINY = ["traffic.world.users=60", "traffic.world.requests=200", "arms.treatment.history=60"]
PROGRAM = [sys.executable, "-m", "simulator.cli"]
# The tests' own settings must not reach the program.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("LASER_AB_")}
ENVIRONMENT |= ALONE
PATIENCE_S = 900  # with a run on a machine that is busy


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        check=False,
        timeout=PATIENCE_S,
    )


def settings() -> list[str]:
    return [part for pair in TINY for part in ("--set", pair)]


def test_a_run_writes_its_folder_and_prints_one_document(tmp_path: Path) -> None:
    done = call("run", LIVE, *settings(), "--out", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == read_run(tmp_path / "run").scorecard
    assert done.stderr == "Run folder: run\n"
    kept = load_config(tmp_path / "run" / "experiment.toml", environment={})
    assert kept == load_config(Path(LIVE), TINY, environment={})


def test_resume_continues_an_interrupted_live_run_in_place(tmp_path: Path) -> None:
    config = load_config(Path(LIVE), TINY, environment={})
    with RunWriter.create(
        tmp_path / "run", manifest(make_plan(config)), {"experiment.toml": to_toml(config)}
    ):
        pass
    done = call("run", "--resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_run(tmp_path / "run").status == "finished"
    assert not (tmp_path / "run-2").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
def test_an_interrupt_exits_130_and_leaves_a_readable_folder(tmp_path: Path) -> None:
    def deaf_no_more() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    command = [*PROGRAM, "run", LIVE, *settings(), "--out", "run"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT, preexec_fn=deaf_no_more
    ) as process:
        try:
            while not (tmp_path / "run" / "manifest.json").exists():
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 130
    assert told.endswith("Continue it:\n  laser-ab run --resume run\n")
    assert "Traceback" not in told
    assert read_run(tmp_path / "run").status == "interrupted"
