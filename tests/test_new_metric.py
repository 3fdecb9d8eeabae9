"""A stranger adds a metric: one entry in one file of a scratch copy of the packages, and it is everywhere."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENTRY = """
    Ratio(
        name="clicks_per_request",
        top="clicks",
        below="requests",
        unit="number",
        label="Clicks per request",
        words="clicks per request",
        meaning="clicks, per request",
    ),
"""
# An A/B of synthetic tables whose true lift of clicks is 30 %, judged by the new metric, then looked at.
PROGRAM = """
import json, sys
from pathlib import Path
from simulated_users import ab_tables
from streamlit.testing.v1 import AppTest
from simulator.analysis.scorecard import Question, build_scorecard
from simulator.results.report import render
from simulator.results.run_folder import RunWriter

tables = ab_tables(lift=0.3)
split = {"old": 0.5, "new": 0.5}
question = Question("mine", 7, "profile", split, control="old", primary="clicks_per_request")
card = build_scorecard(question, *tables)
with RunWriter.create(Path("runs/mine"), {"name": "mine"}) as writer:
    writer.write_scorecard(card)
    writer.finish()
page = AppTest.from_file("dashboard/app.py", default_timeout=600).run()
page.switch_page("app_pages/scorecard.py").run()
users = tables[0]
made = {arm: float(users["clicks"][users["arm"] == arm].sum() / users["requests"][users["arm"] == arm].sum())
        for arm in split}
print(json.dumps({
    "made": made, "card": card, "text": render(card, "text"), "csv": render(card, "csv"),
    "tiles": [tile.label for tile in page.metric], "verdicts": [box.value for box in page.success],
    "rows": page.table[0].value["Metric"].to_list(), "units": page.table[0].value["Unit"].to_list(),
    "axes": [json.loads(chart.proto.spec)["layer"][1]["encoding"]["y"]["sort"]
             for chart in page.get("vega_lite_chart")],
}))
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with one more entry in simulator/metrics.py."""
    folder = tmp_path_factory.mktemp("scratch")
    for package in ("simulator", "dashboard", "laser", "seqvault"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    metrics = folder / "simulator" / "metrics.py"
    before, mark, after = metrics.read_text(encoding="utf-8").partition("\n)\n\nBY_NAME")
    assert mark
    metrics.write_text(before + ENTRY.rstrip() + mark + after, encoding="utf-8")
    return folder


def run(scratch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    helpers = ROOT / "tests" / "simulator" / "analysis"
    environment = {**os.environ, "PYTHONPATH": f"{scratch}{os.pathsep}{helpers}"}
    environment["LASER_AB_RESULTS"] = str(scratch / "runs")
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=scratch,
        env=environment,
        check=False,
    )


@pytest.fixture(scope="module")
def seen(scratch: Path) -> dict[str, Any]:
    """What the program made of it."""
    done = run(scratch, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_new_metric_is_estimated_beside_the_truth_and_judged(seen: dict[str, Any]) -> None:
    arms = seen["card"]["arms"]
    entry = arms["new"]["metrics"]["clicks_per_request"]
    assert {name: arm["values"]["clicks_per_request"]["value"] for name, arm in arms.items()} == seen["made"]
    assert entry["role"] == "primary"
    assert entry["true_lift"] == pytest.approx(0.3)
    assert entry["ci"][0] < 0.3 < entry["ci"][1]
    assert seen["card"]["verdict"]["decision"] == "ship"
    assert "treatment improves clicks per request" in seen["card"]["verdict"]["text"]


def test_a_new_metric_is_in_report_and_csv(seen: dict[str, Any]) -> None:
    assert "Clicks per request (primary)" in seen["text"]
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(seen["csv"]))}
    assert rows["clicks_per_request"]["role"] == "primary"
    assert float(rows["clicks_per_request"]["true_lift"]) == pytest.approx(0.3)


def test_a_new_metric_is_in_the_dashboards_tiles_table_and_chart(seen: dict[str, Any]) -> None:
    assert seen["tiles"][0] == "Clicks per request"
    assert "Clicks per request (primary)" in seen["rows"]
    assert "clicks / request" in seen["units"]
    assert seen["axes"][0][0] == "Clicks per request"
    assert "improves clicks per request" in seen["verdicts"][0]


def test_the_experiment_file_takes_a_new_metric_as_primary(scratch: Path) -> None:
    file = scratch / "mine.toml"
    demo = (ROOT / "examples" / "demo.toml").read_text(encoding="utf-8")
    changed = demo.replace("[experiment]\n", '[experiment]\nprimary = "clicks_per_request"\n')
    assert changed != demo
    file.write_text(changed, encoding="utf-8")
    done = run(scratch, "-m", "simulator.cli", "config", "check", str(file))
    assert done.returncode == 0, done.stderr
    file.write_text(changed.replace("clicks_per_request", "click_per_request"), encoding="utf-8")
    done = run(scratch, "-m", "simulator.cli", "config", "check", str(file))
    assert done.returncode != 0
    assert "did you mean `clicks_per_request`" in done.stderr
