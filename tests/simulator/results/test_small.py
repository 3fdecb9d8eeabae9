"""A run made small: its days against SQL over the whole tables, and what reports and pages read of it."""

import json
import shutil
from pathlib import Path

import made_runs
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from simulator.analysis.guardrails import Guardrails
from simulator.analysis.srm import Srm
from simulator.analysis.verdict import Case, verdicts
from simulator.cli import app
from simulator.metrics import OUTCOMES
from simulator.results.beside import asked
from simulator.results.days import days_of, lifts_by_day
from simulator.results.errors import ResultsError
from simulator.results.read import Run, read_run
from simulator.results.report import render
from simulator.results.run_folder import RunWriter
from simulator.results.small import SHIPPED, make_small, shipped_runs

REQUESTS = 30_000

# The same sums in SQL: `served` and `truth` by their own rows, impressions by the request they belong to.
BY_DAY = """
with day as (select distinct request_id, cast(floor(arrival_s / 86400) as int) as day from served),
shown as (
  select arm, day, count(*) as impressions, sum(click::int) as clicks, sum(conversion::int) as conversions,
    sum(charged) as revenue, sum(value) as advv
  from impressions join day using (request_id) group by arm, day),
told as (
  select arm, day, count(*) as true_requests, sum(expected_impressions) as expected_impressions,
    sum(expected_clicks) as expected_clicks, sum(expected_conversions) as expected_conversions,
    sum(expected_revenue) as expected_revenue, sum(expected_advv) as expected_advv
  from truth join day using (request_id) group by arm, day),
given as (
  select arm, day, min(period) as period, count(*) filter (assigned) as requests,
    count(*) filter (assigned and missed) as missed, count(*) filter (assigned and step > 0) as degraded,
    quantile_cont(latency_ms, 0.99) filter (assigned) as p99_ms
  from served join day using (request_id) group by arm, day)
select * from given left join shown using (arm, day) left join told using (arm, day)
where requests > 0 or true_requests > 0 order by arm, day
"""


def shown(served: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drawn impressions: one on most pages, of the arm that the request was assigned to."""
    rng = np.random.default_rng(3)
    rows = np.flatnonzero(served["assigned"] & (rng.random(len(served["arm"])) < 0.9))
    rows = rows[np.argsort(served["request_id"][rows])]
    click = rng.random(len(rows)) < 0.2
    conversion = click & (rng.random(len(rows)) < 0.3)
    names = {name: served[name][rows] for name in ("request_id", "user_id", "arm", "period")}
    numbers = {
        name: rng.random(len(rows)) for name in ("pctr", "pcvr", "bid", "price", "p_click", "p_convert")
    }
    whole = {name: np.zeros(len(rows), int) for name in ("slot", "ad_id", "advertiser")}
    came = {"click": click, "conversion": conversion, "conversion_s": np.where(conversion, 1.0, np.nan)}
    return names | numbers | whole | came | {"charged": 2.0 * click, "value": 9.5 * conversion}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A drawn run of three days, the first before the experiment."""
    served = made_runs.served(REQUESTS)
    for name in ("arrival_s", "sim_arrival_s"):
        served[name] = 3 * served[name] + 10 * made_runs.DAY_S
    before = served["arrival_s"] < 11 * made_runs.DAY_S
    served["period"] = np.where(before, "pre", "experiment")
    served["assigned"] = np.where(before, served["arm"] == "control", served["assigned"])
    draw = np.random.default_rng(5)
    truth = {name: served[name][~before] for name in ("arm", "request_id", "user_id")}
    truth |= {f"expected_{name}": draw.random(len(truth["arm"])) for name in OUTCOMES}
    ledger = {"world": ["ab", "all:control"], "day": [11, 11], "advertiser": [0, 0], "budget": [np.nan, 2.0]}
    ledger |= {"spend": [1.0, 2.0], "clicks": [3, 4], "conversions": [0, 1], "value": [0.0, 9.5]}
    out = tmp_path_factory.mktemp("whole") / "run"
    with RunWriter.create(out, made_runs.manifest()) as writer:
        writer.write_text("experiment.toml", made_runs.EXPERIMENT)
        writer.stage("serve", REQUESTS, REQUESTS)
        for name, columns in (
            ("served", served), ("impressions", shown(served)), ("truth", truth), ("ledger", ledger)
        ):  # fmt: skip
            writer.write_table(name, columns)
        writer.write_scorecard(made_runs.scorecard())
        writer.finish()
    return read_run(out)


@pytest.fixture(scope="module")
def shrunk(run: Run) -> Run:
    return read_run(make_small(run.path, run.path.with_name("small"), {"shipped": "for a test"}))


def test_days_are_what_sql_makes_of_the_tables(run: Run) -> None:
    days, expected = days_of(run), run.query(BY_DAY)
    assert len(days) == len(expected) == 5  # both arms' two days, and the control's before the experiment
    assert days["arm"].to_pylist() == expected["arm"].to_pylist()
    for name in set(expected.column_names) - {"arm", "period"}:
        found = days[name].to_numpy().astype(float)
        wanted = np.nan_to_num(expected[name].to_numpy().astype(float))
        np.testing.assert_allclose(np.nan_to_num(found), wanted, rtol=1e-9, err_msg=name)
    assert days["period"].to_pylist() == expected["period"].to_pylist()


def test_lifts_by_day_end_at_the_lifts_of_all_totals(run: Run) -> None:
    found = lifts_by_day(days_of(run), "revenue_per_request", "control")
    assert [(row["arm"], row["day"]) for row in found] == [("treatment", 1), ("treatment", 2)]
    of_arm = (
        "select sum(charged) / (select count(*) from served where assigned and period = 'experiment' and "
    )
    of_arm += "arm = '{0}') from impressions join (select distinct request_id, period p from served) using "
    of_arm += "(request_id) where p = 'experiment' and arm = '{0}'"
    control, treatment = (
        run.query(of_arm.format(arm)).column(0)[0].as_py() for arm in ("control", "treatment")
    )
    assert found[-1]["lift"] == pytest.approx(treatment / control - 1)
    truth = run.query("select arm, avg(expected_revenue) from truth group by arm").to_pydict()
    means = dict(zip(truth["arm"], list(truth.values())[1], strict=True))
    assert found[-1]["true_lift"] == pytest.approx(means["treatment"] / means["control"] - 1)
    assert lifts_by_day(days_of(run), "p99_ms", "control") == []


def test_a_small_run_reports_what_the_whole_one_does(run: Run, shrunk: Run) -> None:
    assert shrunk.status == "finished"
    assert shrunk.scorecard == run.scorecard
    assert render(shrunk.scorecard, "table") == render(run.scorecard, "table")
    assert shrunk.stages == run.stages
    assert shrunk.manifest["shipped"] == "for a test"
    assert days_of(shrunk).equals(days_of(run))
    assert shrunk.table("ledger").equals(run.table("ledger"))
    assert not shrunk.has("impressions.parquet")


def test_a_small_run_names_its_inputs_without_their_folders(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["inputs"] = {"files": {str(tmp_path / "somewhere" / "own.json"): "ab12"}, "device": "cpu"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    small = make_small(folder, tmp_path / "small")
    assert json.loads((small / "manifest.json").read_text())["inputs"] == {
        "files": {"own.json": "ab12"},
        "device": "cpu",
    }


def test_its_sample_is_of_the_same_requests_in_every_arm(run: Run, shrunk: Run) -> None:
    assert shrunk.manifest["small"]["served_one_in"] == 3
    assert shrunk.manifest["small"]["rows"]["served"] == 2 * REQUESTS
    sample, every = (one.table("served").to_pandas() for one in (shrunk, run))
    by_arm = {arm: set(rows["request_id"]) for arm, rows in sample.groupby("arm", observed=True)}
    assert by_arm["control"] == by_arm["treatment"]
    assert len(by_arm["control"]) == REQUESTS // 3
    p99, of_every = (
        frame.groupby("arm", observed=True)["latency_ms"].quantile(0.99) for frame in (sample, every)
    )
    np.testing.assert_allclose(p99, of_every, rtol=0.05)
    bytes_of = [sum(file.stat().st_size for file in one.path.iterdir()) for one in (shrunk, run)]
    assert bytes_of[0] < 0.25 * bytes_of[1]


def test_a_small_demo_points_at_a_larger_run_that_came_with_the_package(
    shrunk: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.results.small.SHIPPED", shrunk.path.parent / "none")
    demo = made_runs.write_run(tmp_path / "demo", card={**made_runs.scorecard(), "budget_ms": 25.0})
    alone = CliRunner().invoke(app, ["run", "--resume", str(demo)]).stdout
    assert "shipped" not in alone
    shipped = tmp_path / "shipped"
    shutil.copytree(shrunk.path, shipped / "paper")
    monkeypatch.setattr("simulator.results.small.SHIPPED", shipped)
    beside = CliRunner().invoke(app, ["run", "--resume", str(demo)]).stdout
    line = next(line for line in beside.splitlines() if "shipped" in line)
    assert str(shipped / "paper") in line
    assert "30,000 requests" in line


def test_a_small_run_brings_the_answers_of_the_whole_one(run: Run, tmp_path: Path) -> None:
    out = make_small(run.path, tmp_path / "small", answers={"breakdown": {"level": 0.95}})
    found = read_run(out)
    assert found.status == "finished"
    assert asked.kept(found, "breakdown") == {"level": 0.95}
    assert asked.kept(found, "channels") is None
    (out / "asked" / "breakdown.json").write_text("{")
    assert read_run(out).status == "damaged"


def test_neither_a_small_nor_an_unfinished_run_is_made_small(shrunk: Run, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="made small, expected a whole one"):
        make_small(shrunk.path, tmp_path / "again")
    with made_runs.running_run(tmp_path / "running"):
        pass
    with pytest.raises(ResultsError, match="interrupted, expected a finished one"):
        make_small(tmp_path / "running", tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_what_ships_is_finished_small_and_says_so() -> None:
    assert len(shipped_runs()) == len(list(SHIPPED.glob("*/manifest.json"))) > 0
    for found in shipped_runs():
        assert found.status == "finished"
        assert found.manifest["small"]["rows"]["served"] > 0
        assert found.scorecard is not None
        assert not found.has("run.lock")
        assert sum(file.stat().st_size for file in found.path.iterdir()) < 5e6
        assert isinstance(days_of(found), pa.Table)
        assert not any(Path(name).is_absolute() for name in found.manifest["inputs"]["files"])


def test_the_shipped_verdict_is_that_of_todays_rules_on_its_own_figures() -> None:
    (card,) = (run.scorecard for run in shipped_runs())
    assert card is not None
    arms, names = card["arms"], ("control", "treatment")
    case = Case(
        card["metrics"],
        min(card["units"].values()),
        {"p99_ms": {name: arms[name]["values"]["p99_ms"] for name in names}},
        {name: arms[name]["own_model_share"] for name in names},
    )
    srm = Srm(counts=card["units"], **card["srm"])
    judged = verdicts({"treatment": case}, "advv_per_request", srm, Guardrails(limits={"p99_ms": 5.0}))
    assert card["verdict"] == arms["treatment"]["verdict"]
    for key in ("decision", "rules", "guardrails"):
        assert card["verdict"][key] == judged["treatment"][key]
    assert "standard error 0.0%" not in card["verdict"]["text"] + judged["treatment"]["text"]


def test_the_manifest_of_a_small_run_says_when_the_whole_one_was_made(run: Run, shrunk: Run) -> None:
    text = json.loads((shrunk.path / "manifest.json").read_text())
    assert text["small"]["created"] == run.created
