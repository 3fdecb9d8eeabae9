"""The README's commands and its Python snippet do what they say, in the order a reader meets them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dashboard.launch import free_port
from simulator.cli import app
from simulator.metrics import METRICS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The README's worlds are small, but a reader's requests, log and histories would still take a minute here.
SMALLER = {
    "traffic.world.requests": "600",
    "traffic.world.log_requests": "4",
    "traffic.world.history_max": "200",
}
SMALLER["arms.treatment.history"] = "200"
PROGRAM = [sys.executable, "-m", "simulator.cli"]
PATIENCE_S = 900  # on a machine that is busy


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    lines = [line.partition(" #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("laser-ab ")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's checkout: the examples and nothing else."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture(autouse=True)
def at_the_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a command finds what an earlier one trained, as it does for a reader."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("LASER_AB_CACHE", str(desk / "kept"))
    monkeypatch.setenv("LASER_AB_CACHE_GB", "1")


def run(line: str) -> Result:
    """What the program answers; that it is one is said by test_cli.py."""
    arguments, _, target = line.partition(">")
    words = shlex.split(arguments)[1:]
    if words[0] in ("run", "sweep") and "--resume" not in words:
        words += [part for key, value in SMALLER.items() for part in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(app, words)
    if target:
        Path(target.strip()).write_text(done.stdout, encoding="utf-8")
    return done


def test_the_readme_names_its_commands() -> None:
    named = {shlex.split(line)[1] for line in commands()}
    assert {"config", "run", "report", "sweep", "doctor", "dash"} <= named


def test_the_readmes_commands_run_in_order(desk: Path) -> None:
    for line in commands():
        if shlex.split(line)[1] == "dash":
            check_dashboard(desk)
            continue
        done = run(line)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert (desk / "runs" / "mine" / "scorecard.json").exists()
    assert (desk / "runs" / "what-if" / "sweep.parquet").exists()


def check_dashboard(desk: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        [*PROGRAM, "dash", "runs", "--no-browser", "--port", str(port)], cwd=desk, stdout=subprocess.PIPE
    ) as process:
        try:
            deadline_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline_s:
                try:
                    with urllib.request.urlopen(
                        f"http://127.0.0.1:{port}/_stcore/health", timeout=60
                    ) as answer:
                        assert answer.read() == b"ok"
                        return
                except OSError:
                    assert process.poll() is None
                    time.sleep(0.2)
            raise AssertionError("the dashboard did not come up")
        finally:
            process.terminate()


def test_the_readmes_python_runs(desk: Path) -> None:
    (snippet,) = blocks("python")
    smaller = {f"LASER_AB_{key.replace('.', '__').upper()}": value for key, value in SMALLER.items()}
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        capture_output=True,
        text=True,
        cwd=desk,
        env=os.environ | smaller,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "estimated lift" in done.stdout
    assert "true lift" in done.stdout


def test_the_readme_shows_a_scorecard_of_the_metrics_that_there_are() -> None:
    shown = README.partition("<!-- scorecard:begin -->")[2].partition("<!-- scorecard:end -->")[0]
    assert "Verdict" in shown
    first_words = {metric.label.split()[0] for metric in METRICS if metric.compared}
    assert {word for word in first_words if word not in shown} == set()


def test_the_readmes_picture_is_small_enough_to_load_with_it() -> None:
    picture = ROOT / "docs" / "dashboard.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert picture.stat().st_size < 300_000
