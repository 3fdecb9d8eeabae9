"""The page of a run's scorecard."""

from dataclasses import replace

import made_runs
import pytest
from page_driver import SCORECARD, WHAT_IF, make, opened, specs, texts

from dashboard import charts, limits, tiles
from dashboard.palette import TRUTH
from simulator.results import numbers
from simulator.results.bottleneck import serving_of
from simulator.results.scorecard import effects


def test_scorecard_shows_estimate_interval_truth_and_unit(folder):
    make("finished", folder)
    app = opened(SCORECARD)
    labels = [metric.label for metric in app.metric]
    assert labels == ["ADVV per request", "Revenue per request", "CTR", "P99 latency"]
    assert app.metric[1].value == "0.4248 ¤"
    assert app.metric[1].delta == "+3.1% vs control"
    words = texts(app)
    for wanted in (
        "95% CI +1.9% to +4.3%",
        "control 0.4120 ¤ (both adjusted)",
        "7.0% (6.8% to 7.3%)",  # degraded
        "scorer 79%",
        "true +2.9%",
        "no clear change",
        "configured 50.0%",
        "50,000",
        "¤ / request",
        "H100 80 GB",
    ):
        assert wanted in words
    assert not app.error
    assert "advertiser value" in app.metric[0].help
    captions = [one.value for one in app.caption]
    assert captions.index(tiles.CURRENCY) == 1  # below the tiles; the first is the split's
    assert "Control, adjusted" in app.table[0].value.columns
    assert list(app.table[0].value["p"])[1] == "0.0004"


@pytest.mark.parametrize("page", [SCORECARD, WHAT_IF])
def test_the_bottleneck_of_each_arm_is_named_and_drawn(folder, page):
    make("finished", folder)
    app = opened(page)
    words = texts(app)
    assert "Where the limit is" in words
    assert "**control** (din): at 846 requests/s the store is the bottleneck" in words
    assert "**treatment** (laser): at 846 requests/s the scorer is the bottleneck" in words
    assert words.count("H100 80 GB, 16 cores") == 1  # whose service times
    busy, parts = specs(app)[-2:]
    assert (busy["encoding"]["y"]["field"], parts["encoding"]["y"]["field"]) == ("server", "arm")


def test_utilisations_are_drawn_by_server_and_the_p99_by_arm():
    loads = serving_of(made_runs.scorecard())
    busy = limits._utilisations(loads).set_index(["server", "part"])["share"]
    assert busy["control: 2 store workers", "reading"] == 0.31
    assert busy["treatment: scorer", "scoring"] == 0.79
    parts = limits._parts(loads)
    assert parts.groupby("arm")["share"].sum().to_list() == pytest.approx([1, 1])


def test_results_without_their_servers_have_no_such_section(folder):
    arms = {"old": made_runs.control(serving=None), "new": made_runs.treatment(serving=None)}
    made_runs.write_run(folder / "run", card=made_runs.scorecard(arms), requests=200)
    assert "Where the limit is" not in texts(opened(SCORECARD))


def test_lift_chart_has_interval_truth_mark_and_mde(folder):
    make("finished", folder)
    money, latency, *_ = specs(opened(SCORECARD))
    layers = money["layer"]
    marks = [layer["mark"]["type"] for layer in layers]
    assert marks == ["rule", "bar", "rule", "point", "point"]
    truth = layers[-1]
    assert truth["mark"]["shape"] == "diamond"
    assert truth["encoding"]["x"]["field"] == "true_lift"
    assert TRUTH in truth["encoding"]["color"]["scale"]["range"]
    assert layers[2]["encoding"]["x"]["field"] == "ci_low"
    assert layers[2]["encoding"]["x2"]["field"] == "ci_high"
    assert len(latency["layer"]) == 5


def test_a_legend_has_only_marks_that_are_there():
    effect = next(iter(effects(made_runs.scorecard())))
    rows = charts.lift_rows([replace(effect, mde=None)])
    assert charts.marks_of(rows) == (charts.ESTIMATE, charts.TRUE)
    drawn = charts.lifts(rows, labels=list(rows["label"]), marks=charts.marks_of(rows))
    without = drawn.to_dict()["layer"][-1]["encoding"]["color"]["scale"]
    assert without["domain"] == [charts.ESTIMATE, charts.TRUE]
    assert len(without["range"]) == 2


def test_sample_ratio_mismatch_is_loud(folder):
    card = made_runs.scorecard(made_runs.two_arms(4500, 5500), srm={"p_value": 1e-9})
    made_runs.write_run(folder / "run", card=card, requests=200)
    app = opened(SCORECARD)
    assert any("Sample ratio mismatch" in error.value for error in app.error)
    assert any("configured 50.0%" in error.value for error in app.error)


def test_too_few_users_are_not_enough_data(folder):
    arms = made_runs.two_arms(40, 45)
    few = {"decision": "inconclusive", "text": "An arm has 40 users; 100 are needed. The truth is +3.8%."}
    arms["treatment"]["verdict"] = few
    made_runs.write_run(folder / "run", card=made_runs.scorecard(arms, verdict=few), requests=200)
    app = opened(SCORECARD)
    assert {metric.delta for metric in app.metric} == {"not enough data"}
    assert {metric.value for metric in app.metric} == {numbers.MISSING}
    assert "1.949 ¤ against control 1.900 ¤" in texts(app)
    assert app.info[0].value == f"**Inconclusive.** {few['text']}"
    assert "+2.6%" not in texts(app)
    assert set(app.table[0].value["MDE"]) == {"—"}
    assert set(app.table[0].value["p"]) == {"—"}
    assert set(app.table[0].value["In CI"]) == {"—"}


def test_the_mde_band_is_even_on_the_log_scale_and_the_primary_metric_comes_first(folder):
    card = made_runs.scorecard()
    metrics = card["arms"]["treatment"]["metrics"]
    metrics["ctr"]["mde"] = 4.0
    metrics["cvr"]["role"], metrics["advv_per_request"]["role"] = "primary", "secondary"
    made_runs.write_run(folder / "run", card=card, requests=200)
    spec = specs(opened(SCORECARD))[0]
    labels = ["CVR", "ADVV per request", "Revenue per request", "CTR"]
    assert {tuple(layer["encoding"]["y"]["sort"]) for layer in spec["layer"][1:]} == {tuple(labels)}
    ctr = next(e for e in effects(card) if e.metric == "ctr")
    assert charts._lift_row(ctr)["mde_low"] == pytest.approx(-0.8)
    assert charts._lift_row(replace(ctr, enough=False))["mde"] is None


def test_notes_of_the_scorecard_are_shown(folder):
    card = made_runs.scorecard(notes=["Invented: bids are drawn.", "Histories: median 3 behaviours."])
    made_runs.write_run(folder / "run", card=card, requests=200)
    shown = texts(opened(SCORECARD))
    assert all(note in shown for note in card["notes"])


def test_unknown_values_are_em_dashes(folder):
    card = made_runs.scorecard()
    for entry in card["arms"]["treatment"]["metrics"].values():
        entry.update(true_lift=None, mde=None, n=None)
    made_runs.write_run(folder / "run", card=card, requests=200)
    app = opened(SCORECARD)
    assert "true —" in texts(app)
    assert set(app.table[0].value["True lift"]) == {"—"}


def test_three_arms_are_shown_one_treatment_at_a_time(folder):
    other = {**made_runs.METRICS, "ctr": made_runs.entry(0.0321, 0.07, 0.009, 0.02, "fraction")}
    arms = {"control": made_runs.control(), "laser": made_runs.treatment()}
    arms["twin"] = made_runs.treatment(metrics=other)
    made_runs.write_run(folder / "run", card=made_runs.scorecard(arms), requests=200)
    assert "+7.0%" not in texts(opened(SCORECARD))
    assert "+7.0%" in texts(opened(SCORECARD, arm="twin"))


def test_run_picker_offers_all_runs_and_follows_the_url(folder):
    made_runs.write_run(folder / "old", requests=200)
    found = {"decision": "inconclusive", "text": "The new one."}
    arms = {"control": made_runs.control(), "treatment": made_runs.treatment(verdict=found)}
    made_runs.write_run(folder / "new", requests=200, card=made_runs.scorecard(arms))
    app = opened(SCORECARD, run="new")
    assert sorted(app.sidebar.selectbox[0].options) == ["new", "old"]
    assert "The new one." in texts(app)
    assert "The new one." not in texts(app.sidebar.selectbox[0].set_value("old").run())


def test_the_run_that_is_shown_is_in_the_address(folder):
    make("finished", folder)
    assert opened(SCORECARD).query_params["run"] in ("run", ["run"])


def test_guardrails_stand_beside_the_verdict(folder):
    states = [
        {"name": "p99_ms", "holds": True, "rule": "", "text": "P99 latency is 17.7 ms, the limit 25.0 ms."},
        {"name": "ctr", "holds": False, "rule": "ctr is not shown to be worse", "text": ""},
        {"name": "late_share", "holds": None, "rule": "late", "text": "Late is 2%, the limit 1%."},
    ]
    arms = {"control": made_runs.control()}
    arms["treatment"] = made_runs.treatment(verdict={**made_runs.VERDICT, "guardrails": states})
    made_runs.write_run(folder / "run", card=made_runs.scorecard(arms), requests=200)
    words = texts(opened(SCORECARD))
    for wanted in (
        "**Guardrails, by the A/B**",
        "Degraded: 7.0%, control 0.50%",
        "✓ P99 latency is 17.7 ms",
        "✗ ctr is not shown to be worse",
        "? Late is 2%",
    ):
        assert wanted in words, wanted
    assert "P99 latency: 17.7" not in words  # no limit is said twice
    assert "Missed deadline: " not in words


def test_several_treatments_stand_in_one_table(folder):
    arms = {"control": made_runs.control(), "laser": made_runs.treatment(), "twin": made_runs.treatment()}
    made_runs.write_run(folder / "run", card=made_runs.scorecard(arms), requests=200)
    first = opened(SCORECARD).table[0].value
    assert list(first["Arm"]) == ["control", "laser", "twin"]
    assert list(first["True lift"]) == ["—", "+3.8%", "+3.8%"]


def test_names_from_files_are_words_never_markdown(folder):
    evil = "![picture](http://example.com/x.png) <b>bold</b> [link](javascript:alert(1)) `code` *a*"
    card = made_runs.scorecard(notes=[evil])
    made_runs.write_run(folder / "run", card=card, name=evil, requests=200)
    app = opened(SCORECARD)
    shown = [element.value for kind in ("markdown", "caption") for element in getattr(app, kind)]
    assert any("picture" in text for text in shown)
    assert not any("![picture](" in text or "[link](" in text for text in shown)
