"""The tables of logs beside worlds in docs/logs.md, from the saved result."""

import json

from benchmarks.pages import resemblance
from benchmarks.pages.layout import RESULTS
from simulator.logs.calibration.calibrate import BAR
from simulator.logs.calibration.statistics import CALIBRATED, DISTRIBUTIONS, FIGURES
from simulator.world.calibrated import calibrated

RESULT = json.loads((RESULTS / "resemblance.json").read_text(encoding="utf-8"))


def test_the_page_has_the_saved_rows_and_no_other() -> None:
    text = resemblance.PAGE.read_text(encoding="utf-8")
    assert resemblance.page_of(text, RESULT["rows"]) == text
    body = resemblance.tables(RESULT["rows"])
    for meaning in (*DISTRIBUTIONS.values(), *FIGURES.values()):
        assert meaning in body


def test_every_calibrated_preset_stands_beside_its_log_within_the_bar() -> None:
    pairs = {row["world"]: row for row in RESULT["rows"] if row.get("world") in calibrated()}
    assert set(pairs) == set(calibrated())
    for name, row in pairs.items():
        for statistic in CALIBRATED:
            assert row[statistic] <= BAR
            # The file's distances were measured on the same world.
            assert abs(row[statistic] - calibrated()[name].distances[statistic]) < 0.001
