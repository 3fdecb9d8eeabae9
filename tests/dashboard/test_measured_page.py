"""Models and stores: what is drawn is what the files say, with and without a run."""

import json

import made_runs
import pytest
from page_driver import opened, specs, texts
from test_truth_page import drawn, with_key

from simulator.results.beside.measured import measured
from simulator.results.beside.profiles import SHIPPED, summary
from simulator.results.errors import ResultsError

__all__ = ["drawn"]  # a fixture

PAGE = "app_pages/measured.py"
MODELS = {
    "laser-1000-ae3c": {
        "auc": 0.79565,
        "gauc": 0.6785,
        "log_loss": 0.16652,
        "pcoc": 1.00008,
        "pcoc_low": 0.9893,
        "pcoc_high": 1.011,
        "truth_weighted_auc": 0.79477,
    }
}


def test_without_a_run_the_projects_own_measurements_are_shown(folder):
    app = opened(PAGE)
    assert len(specs(app)) == 5
    assert "The run's models" not in texts(app)


def test_the_runs_models_are_those_of_its_manifest(folder):
    made_runs.write_run(folder / "run", requests=200, models=MODELS)
    table = opened(PAGE).table[0].value
    assert list(table.iloc[0]) == [
        "laser-1000", "0.7956", "0.6785", "0.1665", "1.0001 (0.989 to 1.011)", "0.7948"
    ]  # fmt: skip


def test_a_run_under_way_has_no_models_yet(folder):
    with made_runs.running_run(folder / "run"):
        app = opened(PAGE)
    assert "Models: nothing yet in this running run" in texts(app)
    assert len(specs(app)) == 5


def test_a_damaged_run_leaves_the_rest_of_the_page(folder):
    path = made_runs.write_run(folder / "run", requests=200)
    (path / "manifest.json").write_text("{")
    app = opened(PAGE)
    assert "This run is damaged." in texts(app)
    assert len(specs(app)) == 5


def test_a_run_that_is_gone_is_named(folder):
    made_runs.write_run(folder / "run", requests=200)
    app = opened(PAGE, run="gone")
    assert "There is no run “gone”" in texts(app)
    assert len(specs(app)) == 5


def profile() -> dict:
    """Two lengths of one model and of one store."""
    times = {length: [0.001 * k for k in range(length, length + 100)] for length in (10, 20)}
    head = {"schema_version": 2, "date": "2026-01-02", "commit": "0123abcd", "notes": ["smoothed: a cell"]}
    machine = {"cpu": "a test machine", "cores": 2, "memory_gib": 8, "gpu": None}
    score = {"laser/16": {length: {"32": {"1": own}} for length, own in times.items()}}
    return {**head, "machine": machine, "store": {"seqvault": times}, "transport": times, "score": score}


def test_the_runs_own_profile_comes_first_and_is_drawn_as_measured(folder, drawn):
    file = folder / "own.json"
    file.write_text(json.dumps(profile()))
    path = made_runs.write_run(folder / "run", requests=200)
    text = made_runs.EXPERIMENT.replace("[experiment]", f"[experiment]\nprofile = {json.dumps(str(file))}")
    changed = json.loads((path / "manifest.json").read_text())
    changed["files"].pop("experiment.toml")
    (path / "manifest.json").write_text(json.dumps(changed))
    (path / "experiment.toml").write_text(text)
    app = opened(PAGE)
    assert "Measured on a test machine, 2 cores, 2026-01-02" in texts(app)
    assert "smoothed: a cell" in app.text[0].value
    rows = next(rows for rows in drawn if rows[0].get("series") == "laser/16")
    # The 50th percentile of 10, 11, ... 109 ms, by linear interpolation.
    assert {row["x"]: row["ms"] for row in rows} == {10: pytest.approx(59.5), 20: pytest.approx(69.5)}
    file.write_text("{}")
    assert "found no service-time profile" in texts(opened(PAGE))


def test_a_profile_is_summed_up_in_milliseconds(tmp_path):
    file = tmp_path / "own.json"
    file.write_text(json.dumps(profile()))
    found = {(row["stage"], row["history"]): row for row in summary(file).rows}
    score = found["score", 20]
    assert (score["what"], score["candidates"], score["batch"], score["samples"]) == ("laser/16", 32, 1, 100)
    assert score["p99_ms"] == pytest.approx(20 + 0.99 * 99)
    assert found["transport", 10]["what"] == ""
    assert found["store", 10]["candidates"] is None
    with pytest.raises(ResultsError, match="found no service-time profile"):
        summary(tmp_path / "absent.json")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_every_shipped_profile_has_percentiles_in_order(path):
    rows = summary(path).rows
    assert {row["stage"] for row in rows} == {"store", "transport", "score"}
    assert all(0 <= row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in rows)


def test_quality_and_cost_are_those_of_the_study(folder, drawn):
    app = opened(PAGE, world="paper", cost="ms, GPU, 500 candidates")
    rows = {row["name"]: row for row in with_key(drawn, "front")}
    for own in measured("models")["rows"]:
        if own["world"] == "paper" and own["cost"]["ms, GPU, 500 candidates"] is not None:
            row = rows.pop(own["name"])
            assert (row["x"], row["lead"]) == (own["cost"]["ms, GPU, 500 candidates"], own["lead_pt"])
            assert row["front"] == own["front"]["ms, GPU, 500 candidates"]
    assert rows == {}
    assert "commit" in texts(app)


def test_the_front_has_nobody_that_another_beats_in_both():
    rows = [row for row in measured("models")["rows"] if row["world"] == "paper"]
    for cost in rows[0]["front"]:
        priced = [row for row in rows if row["cost"][cost] is not None]
        for row in priced:
            beaten = any(o["cost"][cost] <= row["cost"][cost] and o["sauc"] > row["sauc"] for o in priced)
            assert row["front"][cost] == (not beaten)


def test_reads_of_the_stores_are_those_measured(folder, drawn):
    app = opened(PAGE)
    # A legend of five lines takes no height from the lines of the chart.
    scoring, *_, reads = [spec for spec in specs(app) if spec.get("mark", {}).get("type") == "line"]
    assert reads["height"] - scoring["height"] == 4 * 30
    rows = [row for rows in drawn for row in rows if row.get("series") == "SeqVault, packed"]
    own = [r for r in measured("stores")["reads"] if (r["regime"], r["engine"]) == ("warm", "packed")]
    assert {row["x"]: row["ms"] for row in rows} == {r["behaviours"]: r["wall_p50_us"] for r in own}
    assert {row["text"] for row in rows} == {f"{r['wall_p50_us']:,.1f} µs" for r in own}
