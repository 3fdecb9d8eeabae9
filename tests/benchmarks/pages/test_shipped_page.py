"""What the package ships of saved results has every figure that the dashboard reads."""

import json

import pytest

from benchmarks.pages import shipped
from benchmarks.pages.layout import RESULTS
from simulator.results.beside.measured import measured


@pytest.mark.parametrize("name", ["designs", "models", "stores"])
def test_what_is_shipped_is_what_was_saved(name):
    made = json.loads(getattr(shipped, name)())
    assert measured(name) == made, "run python -m docs.generate"


def test_designs_have_each_judgement_of_the_saved_rows():
    saved = json.loads((RESULTS / "designs.json").read_text())["rows"]
    found = measured("designs")
    for row in (row for row in saved if row["part"] == "design"):
        own = found["designs"][row["design"]]["metrics"][row["what"]]
        assert own["interference"] == pytest.approx(row["interference"], rel=1e-5)
        assert own["coverage"] == pytest.approx(row["coverage"], rel=1e-5)
    assert {name for name, own in found["designs"].items() if own["sentence"]} == set(found["designs"])
