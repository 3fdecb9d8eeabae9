"""The page of a sweep: its slider, tiles, curves and answers."""

import json

import made_runs
import pytest
from page_driver import WHAT_IF, drawn_rows, make, opened, specs, texts, unopened

from dashboard import tiles
from dashboard.palette import BUDGET
from dashboard.work.places import RESULTS_VARIABLE
from simulator.results import numbers
from simulator.results.answers.build import answers_of
from simulator.results.answers.terms import terms_of
from simulator.results.answers.text import answer_lines
from simulator.results.axes import BUDGET as BUDGET_KEY
from simulator.results.axes import Axis, as_json
from simulator.results.read import read_sweep
from simulator.results.schemas import sweep_schema


def test_a_sweep_opens_at_what_if(folder, monkeypatch):
    monkeypatch.setenv(RESULTS_VARIABLE, str(made_runs.write_sweep(folder / "sweep")))
    app = unopened().run()
    assert [title.value for title in app.title] == ["What-if: a sweep, simulated before"]


def test_slider_starts_at_the_sweeps_budget_and_moves_the_tiles(folder):
    make("finished", folder)
    app = opened(WHAT_IF)
    assert app.select_slider[0].label == "Latency budget (ms); the file has 25"
    assert app.select_slider[0].value == "25"
    assert [one.value for one in app.caption].count(tiles.CURRENCY) == 1
    before = [metric.value for metric in app.metric]
    assert [metric.label for metric in app.metric] == [
        "ADVV per request, in truth",
        "Revenue per request, in truth",
        "CTR, in truth",
        "P99 latency, in truth",
        "Missed deadline, in truth",
        "Full history, in truth",
    ]
    after = [metric.value for metric in app.select_slider[0].set_value("5").run().metric]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_budget_in_the_url_chooses_the_point(folder):
    make("finished", folder)
    app = unopened()
    app.run()
    app.switch_page(WHAT_IF)
    app.query_params["experiment.budget_ms"] = "10"
    app.run()
    assert app.select_slider[0].value == "10"
    ring = specs(app)[0]["layer"][-1]
    assert "chosen" in json.dumps(ring["transform"])
    assert ring["mark"]["size"] > 300
    (line,) = [layer for layer in specs(app)[0]["layer"] if layer["mark"].get("color") == BUDGET]
    assert (line["transform"][0], line["encoding"]["x"]["field"]) == (ring["transform"][0], "x")
    rows = drawn_rows(app, 0)
    assert [(row["x"], row["budget"]) for row in rows if row["chosen"]] == [(10.0, "budget 10.0 ms")]


def test_a_slider_moves_the_marks_of_a_chart_and_makes_no_other_chart(folder):
    make("finished", folder)
    app = opened(WHAT_IF)
    before, rows = specs(app), [drawn_rows(app, i) for i in range(2)]
    app.select_slider[0].set_value("10").run()
    assert specs(app) == before
    assert all(drawn_rows(app, i) != rows[i] for i in range(2))


@pytest.mark.parametrize("against", ["Latency budget (ms)", "P99 latency"])
@pytest.mark.parametrize("show", ["Lift", "Each arm"])
def test_curve_has_band_and_truth(folder, show, against):
    make("finished", folder)
    app = unopened().run()
    app.switch_page(WHAT_IF)
    app.query_params["show"], app.query_params["against"] = show, against
    app.query_params["estimate"] = "true"
    app.run()
    truth, estimate = (spec["layer"] for spec in specs(app)[:2])
    assert truth[-1]["encoding"]["y"]["title"].endswith(", truth")
    assert estimate[-1]["encoding"]["y"]["title"].endswith(", estimate")
    layers = estimate
    band = next(layer for layer in layers if layer["mark"]["type"] == "area")
    assert (band["encoding"]["y"]["field"], band["encoding"]["y2"]["field"]) == ("ci_low", "ci_high")
    assert "order" not in band["encoding"]  # it would split the area into slivers of no width
    assert any(layer["mark"].get("shape") == "diamond" for layer in layers)
    assert band["encoding"]["x"]["title"].startswith(against)
    assert len(band["encoding"]["color"]["scale"]["domain"]) == (1 if show == "Lift" else 2)


def test_a_lift_that_a_sweep_keeps_back_is_not_enough_data(folder):
    rows = made_runs.sweep_rows((25,))
    for i, metric in enumerate(rows["metric"]):
        if metric == "ctr_lift":
            rows["value"][i] = rows["ci_low"][i] = rows["ci_high"][i] = None
        if metric in ("revenue_per_request_lift", "revenue_per_request"):
            rows["true_value"][i] = None
            if metric.endswith("_lift"):
                rows["value"][i] = None
    made_runs.write_sweep(folder / "sweep", (25,), rows)
    app = opened(WHAT_IF)
    deltas = {metric.label: metric.delta for metric in app.metric}
    assert deltas["CTR, in truth"].endswith("true, vs control")
    assert "this A/B: not enough data" in texts(app)
    assert deltas["Revenue per request"] == "not enough data"
    assert not deltas["Missed deadline, in truth"]


def test_what_if_shows_no_estimate_of_too_few_events(folder):
    card = made_runs.scorecard(made_runs.two_arms(40, 45))
    made_runs.write_sweep(folder / "sweep", (25,), cards=[card])
    app = opened(WHAT_IF)
    assert texts(app).count("this A/B: not enough data") == 4  # each lift; shares of requests keep theirs
    assert app.metric[0].delta.endswith("true, vs control")


def test_what_if_shows_the_truth_first_and_says_where_the_estimate_leaves_it_out(folder):
    rows = made_runs.sweep_rows((25,))
    at = next(i for i, metric in enumerate(rows["metric"]) if metric == "revenue_per_request_lift")
    rows["value"][at], rows["ci_low"][at], rows["ci_high"][at] = 0.734, 0.5, 0.9
    rows["true_value"][at] = 0.017
    made_runs.write_sweep(folder / "sweep", (25,), rows)
    app = opened(WHAT_IF)
    (revenue,) = [metric for metric in app.metric if metric.label == "Revenue per request, in truth"]
    assert revenue.delta == "+1.7% true, vs control"
    words = texts(app)
    assert "this A/B: +73.4% (95% CI +50.0% to +90.0%)" in words
    assert "its interval leaves the truth out" in words
    assert "73" not in revenue.value + revenue.delta
    # The flattering estimate is nowhere on the first chart's axis, and a second one only on demand.
    (curve,) = [
        spec for spec in specs(app) if "Settings" not in str(spec) and "lift over control" in str(spec)
    ]
    assert "0.734" not in json.dumps(curve)


@pytest.mark.parametrize(("true_se", "colour"), [(0.003, "green"), (0.03, "gray")])
def test_a_true_lift_within_its_own_error_has_no_colour(true_se, colour):
    assert tiles.verdict_colour(tiles.within_error(0.017, true_se), True) == colour


def test_the_break_even_is_marked_and_the_answers_are_those_of_the_report(folder):
    cards = [made_runs.scorecard() for _ in range(3)]
    for card, lift in zip(cards, (-0.02, -0.01, 0.03), strict=True):
        card["arms"] = json.loads(json.dumps(card["arms"]))
        card["arms"]["treatment"]["metrics"]["advv_per_request"]["true_lift"] = lift
    sweep = read_sweep(made_runs.write_sweep(folder / "sweep", (5, 10, 20), cards=cards))
    app = opened(WHAT_IF)
    answers = answers_of(sweep, terms_of(sweep))
    marks = {
        layer["mark"]["type"]: layer for layer in specs(app)[0]["layer"] if layer["mark"]["type"] == "text"
    }
    assert marks["text"]["mark"]["text"] == f"break-even {numbers.ms(answers['break_even_ms']['true_value'])}"
    assert 10 < marks["text"]["encoding"]["x"]["datum"] < 20
    assert app.text[0].value == "\n".join(answer_lines(answers, sweep.axes))
    # Another metric's lift leaves zero elsewhere.
    other = opened(WHAT_IF, metric="CTR")
    assert "break-even" not in json.dumps(specs(other)[0])


def test_a_sweep_without_truth_shows_its_estimates(folder):
    rows = made_runs.sweep_rows((10, 25))
    rows["true_value"] = [None] * len(rows["true_value"])
    made_runs.write_sweep(folder / "sweep", (10, 25), rows)
    app = opened(WHAT_IF)
    assert "vs control" in app.metric[0].delta
    assert "true" not in app.metric[0].delta
    assert specs(app)[0]["layer"][-1]["encoding"]["y"]["title"].endswith(", estimate")


def test_sweep_of_one_point_needs_no_slider(folder):
    made_runs.write_sweep(folder / "sweep", (25,))
    app = opened(WHAT_IF)
    assert not app.select_slider
    assert "the only one" in texts(app)


def sweep_over_scorers(folder, p99_ms: float) -> None:
    """A treatment whose P99 falls and whose lift rises with its scorers, of which the file has 1."""
    axis, cards = Axis("arms.treatment.scorers", (1, 2, 4), 1), []
    for number in axis.values:
        card = made_runs.scorecard()
        treatment = card["arms"]["treatment"]
        treatment["serving"]["scorers"] = number
        treatment["values"]["p99_ms"]["true_value"] = p99_ms / number
        treatment["metrics"]["advv_per_request"]["true_lift"] = 0.01 + 0.01 * number
        card["arms"]["control"]["values"]["p99_ms"]["true_value"] = 99.0  # it holds nothing
        cards.append(card)
    rows = made_runs.sweep_rows(axis.values)
    rows = {axis.key if name == BUDGET_KEY else name: column for name, column in rows.items()}
    with made_runs.SweepWriter.create(folder / "sweep", made_runs.manifest(axes=as_json([axis]))) as writer:
        for cell, card in enumerate(cards):
            writer.write_cell(cell, card)
        writer.write_table("sweep", rows, sweep_schema([axis]))
        writer.finish()


def test_the_page_says_where_it_is_worth_most_and_shows_it(folder):
    sweep_over_scorers(folder, 40.0)  # within 25 ms from 2 on
    app = opened(WHAT_IF)
    (slider,) = app.select_slider
    assert (slider.label, slider.value) == ("treatment.scorers; the file has 1", "1")
    assert "worth it at 2 of 3 settings, most at scorers 4; treatment, scorers 2, is the cheapest" in texts(
        app
    )
    (button,) = [one for one in app.button if one.label.startswith("Show where")]
    button.click().run()
    assert app.select_slider[0].value == "4"
    assert not [one for one in app.button if one.label.startswith("Show where")]


def test_where_no_setting_holds_the_page_says_what_is_broken(folder):
    sweep_over_scorers(folder, 600.0)
    app = opened(WHAT_IF)
    assert "worth it at 0 of 3 settings; no simulated setting holds everything" in texts(app)
    assert "broken are P99 latency" in texts(app)
    assert not [one for one in app.button if one.label.startswith("Show where")]


def test_an_axis_of_whole_numbers_marks_no_others(folder):
    sweep_over_scorers(folder, 40.0)
    (x,) = {layer["encoding"]["x"]["axis"]["tickMinStep"] for layer in specs(opened(WHAT_IF))[0]["layer"]
            if "axis" in layer["encoding"].get("x", {})}  # fmt: skip
    assert x == 1
    made_runs.write_sweep(folder / "sweep-2", (1.5, 2.5))
    assert '"tickMinStep": 1' not in json.dumps(specs(opened(WHAT_IF, sweep="sweep-2"))[0])
