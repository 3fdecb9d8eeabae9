"""Ctrl-C and SIGTERM at every stage of the long commands: a message, exit code 130, nothing half-written.

Whole processes, and what they are continued to, are in tests/simulator/execution/test_interruption.py.
"""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kuairand_files import write_kuairand
from typer.testing import CliRunner

from simulator.cli import app
from simulator.commands import output
from simulator.results.read import read_run, read_sweep

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo.toml"
TINY = (
    "traffic.world.users=60",
    "traffic.world.requests=200",
    "traffic.world.history_max=100",
    "arms.treatment.history=60",
)
SETTINGS = [str(DEMO), *(part for pair in TINY for part in ("--set", pair))]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr


class Sender:
    """Progress that sends this process a signal when a stage is reached."""

    def __init__(self, stage: str, number: signal.Signals) -> None:
        self.wanted, self.number, self.sent = stage, number, False

    def stage(self, name: str, done: int, total: int) -> None:
        if name == self.wanted and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.number)


@contextmanager
def sent_at(stage: str, number: signal.Signals) -> Iterator[None]:
    """A signal when the command's progress is there."""
    sender = Sender(stage, number)

    @contextmanager
    def progress(quiet: bool) -> Iterator[Sender]:
        yield sender

    # Whoever runs the tests in the background is deaf to Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(output, "progress", progress)
            yield
    finally:
        signal.signal(signal.SIGINT, before)
    assert sender.sent


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("stage", ["read", "convert", "fit response", "write"])
def test_an_import_ends_with_nothing_and_can_be_begun_anew(
    stage: str, number: signal.Signals, tmp_path: Path
) -> None:
    write_kuairand(tmp_path / "in")
    command = ["import", "kuairand", tmp_path / "in", "--out", tmp_path / "log"]
    before = [signal.getsignal(one) for one in SIGNALS]
    with sent_at(stage, number):
        told = call(*command, code=130)
    assert told == "\ninterrupted: there is nothing to continue. The same command begins anew.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [signal.getsignal(one) for one in SIGNALS] == before
    call(*command)
    # And a third time: a log that runs are made from is not replaced.
    assert "found something there, expected nothing. Choose another --out" in call(*command, code=1)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_profile_ends_with_nothing(number: signal.Signals, tmp_path: Path) -> None:
    with sent_at("profile", number):
        told = call("profile", *SETTINGS, "--quick", "--out", tmp_path / "mine.json", code=130)
    said = r"Measuring takes about [\d.]+ min, and longer where cells disagree\.\n"
    assert re.fullmatch(
        said + r"\ninterrupted: there is nothing to continue\. The same command begins anew\.\n", told
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("stage", ["world", "train", "serve", "market"])
def test_a_run_says_how_to_continue_it(stage: str, number: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with sent_at(stage, number):
        told = call("run", *SETTINGS, "--out", out, code=130)
    assert told.endswith(f"what was computed is kept. Continue it:\n  laser-ab run --resume {out}\n")
    assert read_run(out).status == "interrupted"


def test_a_sweep_says_how_to_continue_it(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    with sent_at("cells", signal.SIGINT):
        told = call("sweep", *SETTINGS, "--over", "experiment.budget_ms=1,2,3", "--out", out, code=130)
    assert told.endswith(f"Continue it:\n  laser-ab sweep --resume {out}\n")
    assert read_sweep(out).status == "interrupted"
