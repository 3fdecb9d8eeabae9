"""Every chart is checked, and an empty folder of results is what the pages look at."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import ValidationError
from vega_lite import check

from dashboard import draw
from dashboard.work.places import RESULTS_VARIABLE
from simulator.results import small

# The made-up runs are the result tests', tables that belong together those of the breakdown.
for room in ("results", "analysis/breakdown"):
    sys.path.insert(0, str(Path(__file__).parents[1] / "simulator" / room))


@pytest.fixture(autouse=True)
def valid_charts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every chart that a test draws is checked against Vega-Lite's schema, for which pages take no time."""
    own, wrong = draw._spec, []

    def checked(*options: object) -> str:
        spec: str = own(*options)
        try:
            check(spec)
        except ValidationError as error:  # on a page it would be caught
            wrong.append(error)
        return spec

    monkeypatch.setattr(draw, "_spec", checked)
    yield
    assert not wrong


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(small, "SHIPPED", tmp_path / ".none")  # else an empty folder shows what came with us
    return tmp_path
