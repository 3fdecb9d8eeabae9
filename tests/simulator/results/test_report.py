import csv
import io
import json

import made_runs
import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.metrics import METRICS
from simulator.results import numbers
from simulator.results.bottleneck import metrics, traffic
from simulator.results.compare import compare
from simulator.results.overview import overview, serving
from simulator.results.read import read_run
from simulator.results.report import render
from simulator.results.scorecard import control_name, effects, primary, split_is_off


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (numbers.percent(0.026, signed=True), "+2.6%"),
        (numbers.percent(-0.026), "−2.6%"),
        (numbers.percent(-0.00001, signed=True), "0.0%"),
        (numbers.share(0.0004), "0.04%"),
        (numbers.share(0.0), "0.0%"),
        (numbers.error(0.0), "0.0%"),
        (numbers.error(0.00023), "0.023%"),
        (numbers.error(0.00049), "0.049%"),
        (numbers.error(0.0066), "0.7%"),
        (numbers.error(0.123), "12.3%"),
        (numbers.error(1e-15), "< 0.0001%"),
        (numbers.error(None), "—"),
        (numbers.ratio(0.03214), "3.214%"),
        (numbers.currency(1.95), "1.950 ¤"),
        (numbers.currency(12345.6), "12,346 ¤"),
        (numbers.ms(12.345), "12.3 ms"),
        (numbers.ms(0), "0 ms"),
        (numbers.count(250_000), "250,000"),
        (numbers.about(61_672_607), "62,000,000"),
        (numbers.about(4_906_118_302), "4.9 billion"),
        (numbers.about(27_634_579_000_000), "28,000 billion"),
        (numbers.about(3.27e46), "3.3e+46"),
        (numbers.about(float("inf")), "—"),
        (numbers.p_value(0.00001), "< 0.0001"),
        (numbers.p_value(0.1532), "0.153"),
        (numbers.interval((-0.01, 0.06), numbers.lift), "−1.0% to +6.0%"),
        (numbers.lift_with_interval(0.026, (-0.01, 0.06), 0.95), "+2.6% (95% CI −1.0% to +6.0%)"),
        (numbers.lift_with_interval(0.026, None, 0.95), "+2.6% (no interval)"),
    ],
)
def test_numbers_have_sign_unit_and_interval(text, wanted):
    assert text == wanted


@pytest.mark.parametrize("form", [numbers.metric_form(metric.name).form for metric in METRICS])
@pytest.mark.parametrize("unknown", [None, float("nan"), float("inf")])
def test_unknown_is_an_em_dash_never_zero(form, unknown):
    assert form(unknown) == "—"
    assert numbers.interval((None, 0.1), numbers.lift) == "—"
    assert numbers.lift_with_interval(unknown, (0.0, 0.1), 0.95) == "—"


def test_table_fits_80_columns_without_breaking_numbers():
    lines = render(made_runs.scorecard(), "table", width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("+175.0% to +205.0%" in line for line in lines)
    assert any(line.startswith("ADVV") and "1.900 ¤" in line and "+2.6%" in line for line in lines)


@pytest.mark.parametrize("form", ["table", "text"])
def test_report_shows_interval_truth_split_and_machine(form):
    text = render(made_runs.scorecard(), form, width=140)
    for words in (
        "+2.6%",
        "−1.0% to +6.2%",
        "95% CI",
        "+3.8%",
        "Verdict: ADVV",
        "control 4,980, treatment 5,020",
        "H100 80 GB",
        "25.0 ms",
        "—",
    ):
        assert words in text


@pytest.mark.parametrize("form", ["table", "text"])
def test_report_names_each_arms_bottleneck_by_its_numbers(form):
    text = " ".join(render(made_runs.scorecard(), form, width=400, verbose=True).split())
    assert (
        "Servers of control: at 846 requests/s the store is the bottleneck: the 2 store workers busy 33% "
        "(reading 31%, transport 2.0%) of the time, the scorer 12%. A P99 request's time: 53% reading,"
    ) in text
    assert (
        "Servers of treatment: at 846 requests/s the scorer is the bottleneck: the scorer busy 79% of the "
        "time, the 2 store workers 14% (reading 6.6%, transport 7.3%). A batch holds 2.1 of at most 8 "
        "requests on average; a full one takes 1.0 times as long as a single request. A P99 request's time: "
    ) in text
    unknown = made_runs.scorecard({"control": made_runs.control(serving=None)})
    assert "Servers of" not in render(unknown, form, verbose=True)
    assert "Servers of" not in render(made_runs.scorecard(), form)
    idle = made_runs.control(serving=made_runs.load(0.0, 0.0, 1e-9, "scorer") | {"bottleneck": None})
    assert "late: no request reached a server" in render(
        made_runs.scorecard({"late": idle}), form, width=400, verbose=True
    )


def test_late_and_degraded_requests_and_the_fullest_server_are_shown_for_every_arm():
    headings, control, treatment = serving(made_runs.scorecard())
    wanted = ("P99 latency", "Missed deadline", "Degraded", "Full history", "Bottleneck")
    assert headings == ("arm", *wanted)
    assert control == ("control", "6.10 ms", "0.0%", "0.50%", "—", "store 33%")  # reading and transport
    assert treatment == ("treatment", "17.7 ms", "0.10%", "7.0%", "—", "scorer 79%")
    assert serving(made_runs.scorecard(), intervals=True)[2][3] == "7.0% (6.8% to 7.3%)"
    many = made_runs.scorecard({"a": made_runs.control(), "b": made_runs.treatment(serving=None)})
    assert serving(many)[2] == ("b", "17.7 ms", "0.10%", "7.0%", "—", "—")
    assert serving({}) == []


@pytest.mark.parametrize("form", ["table", "text"])
def test_values_that_are_adjusted_say_so_and_abbreviations_are_spelt_out(form):
    text = " ".join(render(made_runs.scorecard(), form, width=200).split())
    assert {"table": "metric adjusted adjusted", "text": "control, adjusted treatment, adjusted"}[
        form
    ] in text
    assert "Adjusted: CUPED takes out of ratios" in text
    assert "ADVV per request: advertiser value" in text
    assert "MDE: the smallest lift" in text
    plain = made_runs.treatment(
        metrics={"ctr": made_runs.entry(0.1, 0.1, 0.1, 0.1, "fraction", method="log-ratio")}
    )
    text = render(made_runs.scorecard({"a": made_runs.control(), "b": plain}), form, width=200)
    assert "djusted" not in text
    assert "ADVV" not in text.partition("metric")[2]


def test_a_loads_metrics_are_its_utilisations_and_the_parts_of_its_p99():
    load = made_runs.load(0.31, 0.02, 0.12, "store")
    found = metrics(load)
    assert found["store_utilisation"] == 0.31
    assert found["p99_store_service_share"] == load["p99_shares"]["store_service"]
    assert sum(v for name, v in found.items() if name.startswith("p99_")) == pytest.approx(1)
    assert set(metrics({}).values()) == {None}


def test_report_json_is_the_scorecard():
    assert json.loads(render(made_runs.scorecard(), "json")) == made_runs.scorecard()


def test_report_csv_has_numbers_and_leaves_unknown_empty():
    rows = list(csv.DictReader(io.StringIO(render(made_runs.scorecard(), "csv"))))
    assert [row["metric"] for row in rows] == [
        "advv_per_request",
        "revenue_per_request",
        "ctr",
        "cvr",
        "p99_ms",
    ]
    assert rows[0]["lift"] == "0.026"
    assert rows[4]["mde"] == ""


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="expected one of table, text, json, csv"):
        render(made_runs.scorecard(), "html")


def test_split_that_is_off_warns():
    card = made_runs.scorecard(srm={"p_value": 1e-6})
    assert split_is_off(card)
    assert "WARNING: sample ratio mismatch" in render(card, "text")
    assert not split_is_off(made_runs.scorecard())
    assert not split_is_off({})


def test_too_few_users_show_no_estimate():
    card = made_runs.scorecard(made_runs.two_arms(40, 45))
    assert not any(effect.enough for effect in effects(card))
    text = render(card, "text")
    assert "not enough data" in text
    assert "+2.6%" not in text.replace(card["verdict"]["text"], "")


def test_empty_scorecard_renders():
    assert "unknown status" in render({}, "text")


def test_three_arms_give_one_row_a_treatment():
    arms = {"lastn": made_runs.control(), "laser": made_runs.treatment(), "twin": made_runs.treatment()}
    card = made_runs.scorecard(arms)
    assert control_name(card) == "lastn"
    assert [(effect.arm, effect.metric) for effect in effects(card)][4:6] == [
        ("laser", "p99_ms"),
        ("twin", "advv_per_request"),
    ]
    assert primary(card).arm == "laser"
    assert primary(card, "twin").arm == "twin"
    assert "twin" in render(card, "table", width=160)


@pytest.mark.parametrize("form", ["table", "text"])
def test_long_names_of_several_arms_are_titles_and_truncate_nothing(form):
    long = "seqvault-and-laser-with-a-thousand-behaviours"
    arms = {"lastn": made_runs.control(), long: made_runs.treatment(), "twin": made_runs.treatment()}
    card = made_runs.scorecard(arms)
    text = render(card, form, width=80)
    lines = [line.rstrip() for line in text.splitlines()]
    assert f"{long} against lastn" in lines
    assert "twin against lastn" in lines
    assert "…" not in text
    assert text.count("+175.0% to +205.0%") == 2


def test_two_arms_go_by_their_names():
    card = made_runs.scorecard({"lastn-din": made_runs.control(), "vault-laser": made_runs.treatment()})
    assert {effect.arm for effect in effects(card)} == {"vault-laser"}
    assert "lastn-din 4,980, vault-laser 5,020" in render(card, "text")


def test_arm_without_users_is_a_mismatch():
    assert split_is_off(made_runs.scorecard(srm={"p_value": None, "status": "empty"}))


def test_missing_interval_gives_its_reason():
    card = made_runs.scorecard()
    card["arms"]["treatment"]["metrics"]["p99_ms"] |= {
        "ci": None,
        "reason": "Too few users among the slowest 1 %.",
    }
    text = render(card, "text")
    assert "not enough data" in text
    assert "Too few users among the slowest" in text


def test_effect_knows_whether_truth_is_covered():
    by_name = {effect.metric: effect for effect in effects(made_runs.scorecard())}
    assert by_name["advv_per_request"].covered is True
    card = made_runs.scorecard()
    card["arms"]["treatment"]["metrics"]["ctr"]["true_lift"] = 0.5
    card["arms"]["treatment"]["metrics"]["cvr"]["true_lift"] = None
    by_name = {effect.metric: effect for effect in effects(card)}
    assert by_name["ctr"].covered is False
    assert by_name["cvr"].covered is None


def test_compare_shows_no_lift_of_too_few_users(tmp_path):
    few = made_runs.scorecard(made_runs.two_arms(99, 5020))
    a = read_run(made_runs.write_run(tmp_path / "a", requests=200))
    b = read_run(made_runs.write_run(tmp_path / "b", requests=200, card=few))
    for row in compare(a, b).metrics:
        assert row["lift_a"] is not None
        assert row["lift_b"] is None
        assert row["lift_change"] is None
        assert row["true_lift_b"] is not None


def test_compare_shows_changed_metrics_and_settings(tmp_path):
    changed = made_runs.scorecard()
    changed["arms"]["treatment"]["metrics"]["ctr"] = made_runs.entry(0.0321, 0.05, 0.009, 0.02, "fraction")
    del changed["arms"]["treatment"]["metrics"]["cvr"]
    a = read_run(made_runs.write_run(tmp_path / "a", requests=200))
    b = read_run(made_runs.write_run(tmp_path / "b", requests=200, card=changed, seed=8, budget_ms=40))
    (tmp_path / "b/experiment.toml").write_text('seed = 8\n[traffic]\npreset = "loud"\n')
    found = compare(a, b)
    assert found.settings["manifest.seed"] == (7, 8)
    assert found.settings["traffic.preset"] == ("demo", "loud")
    assert found.settings["experiment.name"] == ("lifelong histories", None)
    assert "manifest.commit" not in found.settings
    rows = {row["metric"]: row for row in found.metrics}
    assert rows["ctr"]["lift_change"] == pytest.approx(0.032)
    assert rows["ctr"]["treatment_change"] == pytest.approx(1.05 / 1.018 - 1)
    assert rows["cvr"]["treatment_b"] is None
    assert rows["cvr"]["lift_change"] is None


@pytest.mark.parametrize("form", ["table", "text"])
def test_notes_of_the_scorecard_are_printed(form):
    card = made_runs.scorecard(notes=["Traffic: a real log.", "Invented: bids."])
    assert "Traffic: a real log.\nInvented: bids.\n" in render(card, form)
    assert render(made_runs.scorecard(notes=[]), form) == render(made_runs.scorecard(), form)


@pytest.mark.parametrize("form", ["table", "text"])
def test_service_times_from_a_profiles_edge_are_said_to_be_too_long_or_too_short(form):
    card = made_runs.scorecard()
    card["arms"]["control"]["outside_profile"] = 13_183
    words = " ".join(render(card, form).split())
    assert "answered by its edge: control 13,183. Below the least measured history" in words
    assert "too long, so latencies are if anything overstated; above the most" in words
    assert "answered by its edge" not in render(made_runs.scorecard(), form)


def test_a_logs_true_lifts_come_from_the_model_fitted_on_it():
    truth = "True lifts come from the"
    assert f"{truth} simulated world." in render(made_runs.scorecard(), "text", width=2000)
    of_log = render(made_runs.scorecard(notes=["Traffic: a real log (shop)."]), "text", width=2000)
    assert f"{truth} model fitted on the log." in of_log


def many_arms() -> dict:
    """A control and nine treatments, the second of them decided."""
    unclear = {"decision": "inconclusive", "text": "Cannot tell."}
    names = ["base", "sim", "twin", "transformer", "hstu", "laser", "stca", "vista", "vql"]
    arms = {name: made_runs.treatment(verdict=unclear) for name in names}
    arms["sim"]["verdict"] = {"decision": "ship", "text": "Better by far."}
    return made_runs.scorecard({"din": made_runs.control(), **arms})


def test_many_arms_stand_side_by_side_above_their_own_tables():
    lines = [line.split() for line in render(many_arms(), "table", width=80).splitlines()]
    ordered = [line[0] for line in lines if len(line) > 5 and line[1] in ("control", "inconclusive", "ship")]
    assert [name for name in ordered if name != "metric"] == list(many_arms()["arms"])
    (sim,) = [line for line in lines if line[:2] == ["sim", "ship"]]
    assert sim[2:] == ["+2.6%", "−1.0%", "to", "+6.2%", "+3.8%", "17.7", "ms"]
    assert lines.index(sim) < lines.index(["base", "against", "din"])


def test_of_several_verdicts_only_the_decided_take_a_sentence():
    text = render(many_arms(), "text")
    assert "Verdict on sim: Better by far." in text
    assert "Cannot tell." not in text


def test_few_users_and_missing_parts_leave_the_side_by_side_rows_empty():
    arms = many_arms()["arms"]
    few = made_runs.scorecard({"din": arms["din"], "twin": {**arms["twin"], "units": 20}, "sim": arms["sim"]})
    rows = overview(few)
    assert rows[2] == ("twin", "inconclusive", "not enough data", "—", "+3.8%", "17.7 ms")
    assert rows[3][2] == "+2.6%"
    assert overview(made_runs.scorecard()) == []


def test_a_sweep_says_that_its_cells_met_unlike_traffic():
    def cell(rate):
        return {"arms": {"control": made_runs.control(serving={"requests_per_s": rate})}}

    assert traffic([]) is None
    assert traffic([{}, cell(250.0), cell(251.0)]) is None  # the last request of one completed later
    assert "251 to 595 requests/s" in traffic([cell(594.7), cell(251.4)])


def test_a_size_from_a_runs_own_spread_is_said_in_two_digits(tmp_path):
    card = made_runs.scorecard()
    card["arms"]["treatment"]["metrics"]["advv_per_request"] |= {"se_log": 0.0173, "n": 50_000}
    run = made_runs.write_run(tmp_path / "run", card=card, requests=200)
    said = CliRunner().invoke(app, ["power", str(run), "--lift", "0.02"]).stdout
    # (2.8016 · .0173 / log 1.02)² is 5.99 times the test's 10,000 users.
    assert said == "About 60,000 users and 300,000 requests find a lift of +2.00% with 80% power.\n"
    said = CliRunner().invoke(app, ["power", str(run), "--users", "12345"]).stdout
    assert said.startswith("12,345 users and 61,725 requests find a lift of")
