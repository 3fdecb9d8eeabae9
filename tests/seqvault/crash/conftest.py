"""Nurseries for the whole session: imports and kernels are paid once. And the table at its end."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).with_name("harness")))

import tally
from counts import SCALE
from nursery import Nurseries, Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as started:
        yield started


@pytest.fixture(scope="session")
def nurseries(nursery: Nursery) -> Iterator[Nurseries]:
    with Nurseries(nursery) as started:
        yield started


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tally.PARTS and SCALE != "share":
        terminalreporter.section(f"crash harness, {SCALE}")
        for line in tally.table():
            terminalreporter.write_line(line)
