"""Each page in each state a folder can be in, driven without a browser."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made_runs
import numpy as np
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

import dashboard.app_pages
from dashboard import charts, limits, tiles
from dashboard.palette import BUDGET, TRUTH
from dashboard.work.places import RESULTS_VARIABLE, TOKEN_VARIABLE
from simulator.results import numbers, small
from simulator.results.answers.build import answers_of
from simulator.results.answers.terms import terms_of
from simulator.results.answers.text import answer_lines
from simulator.results.bottleneck import serving_of
from simulator.results.read import read_sweep
from simulator.results.scorecard import effects

APP = Path(dashboard.app_pages.__file__).parents[1] / "app.py"
NAMES = ("runs", "scorecard", "latency", "what_if", "compare")
RUNS, SCORECARD, LATENCY, WHAT_IF, COMPARE = (f"app_pages/{name}.py" for name in NAMES)
PAGES = (SCORECARD, LATENCY, WHAT_IF)  # each about one result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(RESULTS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(small, "SHIPPED", tmp_path / ".none")  # else an empty folder shows what came with us
    return tmp_path


def opened(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=30)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    if page != RUNS:
        app.switch_page(page)
        for key, value in query.items():
            app.query_params[key] = value
        app.run()
    assert not app.exception
    assert "could not be drawn" not in texts(app)
    return app


def texts(app: AppTest) -> str:
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "success", "code")
    found = [element.value for kind in kinds for element in getattr(app, kind)]
    found += [f"{m.label} {m.value} {m.delta}" for m in app.metric]
    frames = [*app.dataframe, *app.table]
    found += [str(cell) for frame in frames for cell in frame.value.to_numpy().ravel()]
    return "\n".join(found)


def specs(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


def make(state: str, folder: Path) -> None:
    """The same state for runs and sweeps."""
    if state == "interrupted":
        with made_runs.running_run(folder / "run"):
            pass
        with made_runs.SweepWriter.create(folder / "sweep", made_runs.manifest()) as writer:
            writer.stage("cells", 2, 9)
        return
    run, sweep = made_runs.write_run(folder / "run", requests=1500), made_runs.write_sweep(folder / "sweep")
    for path in (run, sweep):
        if state == "damaged":
            table = next(path.glob("*.parquet"))
            table.write_bytes(table.read_bytes()[:100])
        elif state == "failed":
            manifest = json.loads((path / "manifest.json").read_text())
            changed = {**manifest, "status": "failed", "error": "CheckpointError: laser.pt is damaged"}
            (path / "manifest.json").write_text(json.dumps(changed))


@pytest.mark.parametrize("page", [*PAGES, RUNS, COMPARE])
def test_without_runs_each_page_shows_the_command_that_makes_one(folder, page):
    app = opened(page)
    assert any("laser-ab " in code.value and str(folder) in code.value for code in app.code)
    assert not app.metric


@pytest.mark.parametrize("page", PAGES)
def test_damaged_folder_names_file_reason_and_remedy(folder, page):
    make("damaged", folder)
    words = texts(opened(page))
    assert ".parquet" in words
    assert "found 100 bytes" in words
    # A run's folder keeps the file that it was made from; this made-up sweep's has none.
    again = "sweep CONFIG" if page.endswith("what_if.py") else f"run {folder / 'run' / 'experiment.toml'}"
    assert f"Run the experiment again: laser-ab {again}" in words


@pytest.mark.parametrize("page", PAGES)
def test_interrupted_folder_says_where_and_how_to_continue(folder, page):
    make("interrupted", folder)
    words = texts(opened(page))
    assert "interrupted at stage" in words
    assert f"laser-ab {'sweep' if page == WHAT_IF else 'run'} --resume {folder}" in words


@pytest.mark.parametrize("page", PAGES)
def test_failed_folder_shows_the_error_and_what_is_there(folder, page):
    make("failed", folder)
    app = opened(page)
    assert "laser.pt is damaged" in texts(app)
    assert app.get("vega_lite_chart")


@pytest.mark.parametrize("page", [SCORECARD, LATENCY])
def test_running_run_shows_progress(folder, page):
    with made_runs.running_run(folder / "run"):
        app = opened(page)
        assert "under way" in texts(app)
        labels = [bar.proto.text for bar in app.get("progress")]
        assert "train: 300 of 1,200" in labels


def test_running_sweep_shows_progress(folder):
    with made_runs.SweepWriter.create(folder / "sweep", made_runs.manifest()) as writer:
        writer.stage("cells", 2, 9)
        app = opened(WHAT_IF)
        assert [bar.proto.text for bar in app.get("progress")] == ["cells: 2 of 9"]


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
    assert "Control, adjusted" in app.table[0].value.columns


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


def test_every_mark_names_its_colour(folder):
    make("finished", folder)
    for page in PAGES:
        for spec in specs(opened(page)):
            inner = spec.get("spec", spec)
            for layer in inner.get("layer", [inner]):
                assert "color" in layer["encoding"] or "color" in layer["mark"], layer["mark"]


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
    assert app.metric[0].value == "1.949 ¤"
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


def test_a_sweep_opens_at_what_if(folder, monkeypatch):
    monkeypatch.setenv(RESULTS_VARIABLE, str(made_runs.write_sweep(folder / "sweep")))
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    assert [title.value for title in app.title] == ["What if a setting were another?"]


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


@pytest.mark.parametrize("view", ["Histogram", "CDF"])
def test_latency_distribution_has_the_budget_line(folder, view):
    make("finished", folder)
    chart = specs(opened(LATENCY, view=view))[0]
    (line,) = [layer for layer in chart["layer"] if layer["mark"].get("color") == BUDGET]
    assert line["encoding"]["x"]["datum"] == made_runs.BUDGET_MS
    (words,) = [layer["encoding"] for layer in chart["layer"] if layer["mark"]["type"] == "text"]
    assert words["text"]["value"] == "budget 25.0 ms"
    assert chart["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"


def test_latency_page_shows_percentiles_stages_and_ladder(folder):
    make("finished", folder)
    app = opened(LATENCY)
    words = texts(app)
    assert "P99" in list(app.table[0].value["Percentile"])
    assert " ms (" in words
    assert "P99 latency" not in words
    assert "missed their deadline" in words
    charts = specs(app)
    assert len(charts) == 9
    assert [layer["mark"]["type"] for layer in charts[5]["layer"]] == ["rect", "rule"]
    assert charts[6]["encoding"]["y"]["field"] == "requests"
    assert [chart["layer"][0]["encoding"]["y"]["field"] for chart in charts[1:5]] == ["stage"] * 4


def test_any_percentile_and_the_slowest_requests_are_shown(folder):
    make("finished", folder)
    app = opened(LATENCY, percentile="37.25")
    table = app.table[0].value.set_index("Percentile")
    columns = made_runs.served(1500)
    keep = (columns["arm"] == "treatment") & (columns["period"] == "experiment") & columns["assigned"]
    latency_ms = columns["latency_ms"][keep]
    assert numbers.ms(np.percentile(latency_ms, 37.25)) in set(table.loc["P37.25"])
    first = app.selectbox(key="slow_request").options[0]
    slowest = columns["request_id"][keep][np.argmax(latency_ms)]
    assert first == f"{slowest}: {numbers.ms(latency_ms.max())}"
    assert f"Stages of request {slowest} of treatment" in [c.proto.alt for c in app.get("vega_lite_chart")]


def test_latency_without_budget_has_no_line(folder):
    made_runs.write_run(folder / "run", requests=200, budget_ms=None)
    app = opened(LATENCY)
    assert "no latency budget" in texts(app)
    assert len(specs(app)[0]["layer"]) == 1


def test_all_requests_are_more_than_the_assigned(folder):
    make("finished", folder)

    def counted(app):
        headings = " ".join(app.table[0].value.columns)
        return [int(n.replace(",", "")) for n in re.findall(r"n = ([0-9,]+)", headings)]

    assert sum(counted(opened(LATENCY, requests="All requests (truth)"))) == 2 * sum(counted(opened(LATENCY)))


def test_slider_starts_at_the_sweeps_budget_and_moves_the_tiles(folder):
    make("finished", folder)
    app = opened(WHAT_IF)
    assert app.select_slider[0].label == "Latency budget (ms)"
    assert app.select_slider[0].value == "25"
    before = [metric.value for metric in app.metric]
    assert [metric.label for metric in app.metric] == [
        "ADVV per request",
        "Revenue per request",
        "CTR",
        "P99 latency",
        "Missed deadline",
        "Full history",
    ]
    after = [metric.value for metric in app.select_slider[0].set_value("5").run().metric]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_budget_in_the_url_chooses_the_point(folder):
    make("finished", folder)
    app = AppTest.from_file(str(APP), default_timeout=30)
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


def drawn_rows(app: AppTest, chart: int) -> list[dict]:
    """The data of a chart, as it is sent to the browser."""
    (data,) = app.get("vega_lite_chart")[chart].proto.datasets
    return pa.ipc.open_stream(data.data.data).read_all().to_pylist()


@pytest.mark.parametrize("against", ["Latency budget (ms)", "P99 latency"])
@pytest.mark.parametrize("show", ["Lift", "Each arm"])
def test_curve_has_band_and_truth(folder, show, against):
    make("finished", folder)
    app = AppTest.from_file(str(APP), default_timeout=30).run()
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
    assert deltas["CTR"].endswith("true, vs control")
    assert "this A/B: not enough data" in texts(app)
    assert deltas["Revenue per request"] == "not enough data"
    assert not deltas["Missed deadline"]


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
    (revenue,) = [metric for metric in app.metric if metric.label == "Revenue per request"]
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


@pytest.mark.parametrize("page", PAGES)
def test_every_page_names_its_results_seed_and_machine(folder, page):
    make("finished", folder)
    words = texts(opened(page))
    name, where = ("budget sweep", "sweep") if page == WHAT_IF else ("lifelong histories", "run")
    assert (
        f"**{name}** · folder {where} · seed 7 · finished · computed on 8-core test machine, 8 cores" in words
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_link_to_results_that_are_gone_says_so_and_shows_no_others(folder, page):
    make("finished", folder)
    kind = "sweep" if page == WHAT_IF else "run"
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    app.switch_page(page)
    app.query_params[kind] = "deleted"
    app.run()
    assert f"There is no {kind} “deleted”" in app.error[0].value
    assert not app.metric
    assert not app.get("vega_lite_chart")
    assert app.query_params[kind] in ("deleted", ["deleted"])
    # Choosing another one in the sidebar leads on.
    assert app.sidebar.selectbox[0].set_value(kind).run().get("vega_lite_chart")


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
        "Missed deadline: **0.10%**, control 0.0%",
        "Degraded: **7.0%**, control 0.50%",
        "✓ P99 latency is 17.7 ms",
        "✗ ctr is not shown to be worse",
        "? Late is 2%",
    ):
        assert wanted in words, wanted


def test_several_treatments_stand_in_one_table(folder):
    arms = {"control": made_runs.control(), "laser": made_runs.treatment(), "twin": made_runs.treatment()}
    made_runs.write_run(folder / "run", card=made_runs.scorecard(arms), requests=200)
    first = opened(SCORECARD).table[0].value
    assert list(first["Arm"]) == ["control", "laser", "twin"]
    assert list(first["True lift"]) == ["—", "+3.8%", "+3.8%"]


def test_without_its_token_a_page_shows_nothing(folder, monkeypatch):
    make("finished", folder)
    monkeypatch.setenv(TOKEN_VARIABLE, "secret")
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    assert "needs its token" in app.error[0].value
    assert not app.title
    app.query_params["token"] = "secret"
    assert app.run().title[0].value == "Runs"
    del app.query_params["token"]
    assert app.switch_page(SCORECARD).run().metric


def test_names_from_files_are_words_never_markdown(folder):
    evil = "![picture](http://example.com/x.png) <b>bold</b> [link](javascript:alert(1)) `code` *a*"
    card = made_runs.scorecard(notes=[evil])
    made_runs.write_run(folder / "run", card=card, name=evil, requests=200)
    app = opened(SCORECARD)
    shown = [element.value for kind in ("markdown", "caption") for element in getattr(app, kind)]
    assert any("picture" in text for text in shown)
    assert not any("![picture](" in text or "[link](" in text for text in shown)


def test_sweep_of_one_point_needs_no_slider(folder):
    made_runs.write_sweep(folder / "sweep", (25,))
    app = opened(WHAT_IF)
    assert not app.select_slider
    assert "the only one" in texts(app)


def test_a_failing_page_shows_no_traceback(folder, monkeypatch):
    make("finished", folder)
    monkeypatch.setattr("dashboard.tiles.rows", lambda tiles: 1 / 0)
    app = AppTest.from_file(str(APP), default_timeout=30).run()
    app.switch_page(SCORECARD).run()
    words = texts(app)
    assert not app.exception
    assert "could not be drawn" in words
    assert "ZeroDivisionError" not in words


def test_dashboard_never_imports_torch(tmp_path):
    made_runs.write_run(tmp_path / "run", requests=200)
    code = f"""
import os, sys
os.environ[{RESULTS_VARIABLE!r}] = {str(tmp_path)!r}
from streamlit.testing.v1 import AppTest
import dashboard.launch
app = AppTest.from_file({str(APP)!r}, default_timeout=30).run()
app.switch_page("app_pages/scorecard.py").run()
assert app.metric and not app.exception
print([name for name in ("torch", "simpy", "seqvault", "laser") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
