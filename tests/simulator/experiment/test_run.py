"""Whole experiments: determinism, the truth of identical arms, and what a run folder holds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import EXAMPLES, SMALL, small, table_bytes

from simulator.analysis.breakdown.whole import breakdown_of
from simulator.analysis.resplit import resplit
from simulator.config.load import load_config
from simulator.experiment.run import run_experiment
from simulator.results.days import days_of
from simulator.results.read import Run, read_run
from simulator.results.report import render
from simulator.results.schemas import SORTED_BY
from simulator.results.small import make_small
from simulator.serving.profile import load, save

TABLES = {"served", "impressions", "truth", "users", "ledger"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(run_experiment(small(), tmp_path_factory.mktemp("demo") / "run"))


@pytest.fixture(scope="module")
def identical(tmp_path_factory: pytest.TempPathFactory) -> Run:
    aa = load_config(
        EXAMPLES / "aa.toml",
        ["traffic.world.users=400", "traffic.world.requests=3000", "traffic.world.history_max=100"],
        environment={},
    )
    return read_run(run_experiment(aa, tmp_path_factory.mktemp("aa") / "run"))


def test_a_run_ends_with_its_tables_and_a_scorecard(demo: Run) -> None:
    assert demo.status == "finished"
    assert {path.stem for path in demo.path.glob("*.parquet")} == TABLES
    arms = demo.scorecard["arms"]
    assert all(0 <= arm["own_model_share"] <= 1 for arm in arms.values())
    guards = {guard["name"]: guard for guard in arms["treatment"]["verdict"]["guardrails"]}
    assert "P99 latency is" in guards["p99_ms"]["text"]
    assert {"revenue_per_request", "ctr"} <= set(guards)
    entry = demo.scorecard["metrics"]["advv_per_request"]
    assert entry["true_lift"] is not None
    assert (
        entry["n"] == (demo.table("served").to_pandas().query("assigned and period == 'experiment'").shape[0])
    )


def test_an_arm_of_lower_precision_is_answered_by_its_own_model(demo: Run, tmp_path: Path) -> None:
    profile = load(small().experiment.profile_path)
    score = {f"{model}@bf16": times for model, times in profile.score.items()}
    order = {f"{place}@bf16": at for place, at in profile.order.items() if place.startswith("score/")}
    save(replace(profile, score=profile.score | score, order=profile.order | order), tmp_path / "lower.json")
    lower = ["arms.treatment.precision='bf16'", f"experiment.profile='{tmp_path / 'lower.json'}'"]
    arms = read_run(run_experiment(small(*lower), tmp_path / "run")).scorecard["arms"]
    expected = demo.scorecard["arms"]["treatment"]["own_model_share"]
    assert arms["treatment"]["own_model_share"] == pytest.approx(expected, abs=0.1)


def test_the_breakdowns_last_day_is_the_scorecard(demo: Run) -> None:
    found = breakdown_of(demo)["treatments"]["treatment"]
    for name, days in found["days"].items():
        own = demo.scorecard["arms"]["treatment"]["metrics"][name]
        assert days[-1]["lift"] == (None if own["lift"] is None else pytest.approx(own["lift"]))
        assert days[-1]["true_lift"] == pytest.approx(own["true_lift"])
    assert sum(one["requests"] for one in found["segments"]) == 3 * sum(
        arm["requests"] for arm in demo.scorecard["arms"].values()
    )


def test_a_run_made_small_keeps_what_its_days_add_up_to(demo: Run, tmp_path: Path) -> None:
    shrunk = read_run(make_small(demo.path, tmp_path / "small"))
    assert render(shrunk.scorecard, "table") == render(demo.scorecard, "table")
    assert shrunk.manifest["models"] == demo.manifest["models"]
    days = days_of(shrunk).to_pandas().query("period == 'experiment'")
    sums = days.groupby("arm", observed=True).sum(numeric_only=True)
    for name, arm in demo.scorecard["arms"].items():
        assert sums.loc[name, "requests"] == arm["requests"]
        assert sums.loc[name, "missed"] / arm["requests"] == pytest.approx(arm["latency"]["missed_share"])
    per_request = sums["expected_advv"] / sums["true_requests"]
    true_lift = demo.scorecard["metrics"]["advv_per_request"]["true_lift"]
    assert per_request["treatment"] / per_request["control"] - 1 == pytest.approx(true_lift)


def test_the_same_settings_and_seed_give_the_same_bytes_whatever_the_name(demo: Run, tmp_path: Path) -> None:
    again = run_experiment(small("experiment.name=another"), tmp_path / "again")
    assert table_bytes(again) == table_bytes(demo.path)


def test_another_salt_splits_the_same_users_anew(demo: Run, tmp_path: Path) -> None:
    other = read_run(run_experiment(small("experiment.salt=other"), tmp_path / "run"))
    ours, theirs = (run.table("users").to_pandas().set_index("user_id").arm for run in (demo, other))
    assert 0.3 < (ours == theirs.reindex(ours.index)).mean() < 0.7
    # The truth knows no split: it serves everyone by each arm.
    assert (other.path / "truth.parquet").read_bytes() == (demo.path / "truth.parquet").read_bytes()


def test_two_worker_processes_give_the_bytes_of_one(demo: Run, tmp_path: Path) -> None:
    parallel = run_experiment(small(), tmp_path / "run", jobs=2)
    assert table_bytes(parallel) == table_bytes(demo.path)


def test_another_split_trains_and_scores_nothing_again_and_changes_no_byte(
    demo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LASER_AB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LASER_AB_CACHE_GB", "1")
    run_experiment(small("experiment.salt=other"), tmp_path / "first")
    monkeypatch.setattr("simulator.arms.training.train", None)
    monkeypatch.setattr("simulator.arms.scores.BucketScorer", None)
    again = read_run(run_experiment(small(), tmp_path / "again"))
    assert table_bytes(again.path) == table_bytes(demo.path)
    assert again.manifest["models"] == demo.manifest["models"]


def test_rows_come_in_the_order_that_the_schemas_promise(demo: Run) -> None:
    arms = [arm["name"] for arm in demo.manifest["arms"]]
    for name in TABLES:
        table, keys = demo.table(name), SORTED_BY[name]
        columns = [
            [arms.index(v) for v in table[k].to_pylist()] if k == "arm" else table[k].to_pylist()
            for k in keys
        ]
        rows = list(zip(*columns, strict=True))
        assert rows == sorted(rows), name
        assert len(set(rows)) == len(rows) > 0, name


def test_what_is_said_of_the_market_is_what_its_tables_hold(demo: Run) -> None:
    said = demo.scorecard["market"]
    shown = demo.table("impressions").to_pandas()
    shown = shown[shown.period == "experiment"]
    assert said["conversions"] == shown.conversion.sum() > 0
    end_s = (demo.table("ledger").to_pandas().day.max() + 1) * 86_400
    assert said["conversions_after_end"] == (shown.conversion_s >= end_s).sum()
    assert said["pcvr"]["held_out_promised"] > 0
    # So few requests that nobody's ten clicks are used up.
    assert said["budget_clicks"]["least"] == pytest.approx(10.0)
    assert set(said["exhausted_share"]) == {"ab", "all:control", "all:treatment"}
    assert max(said["exhausted_share"].values()) <= 0.02
    assert 0.0 <= said["revenue_lost"] < 0.02


def test_where_every_budget_is_spent_the_true_lift_of_revenue_is_exactly_zero(tmp_path: Path) -> None:
    """A run of its own, of a shipped example, because that is what the example is there to show."""
    fewer = ("traffic.world.requests=1500", "traffic.world.advertisers=2", "market.budget_clicks=5")
    days = ("experiment.days=2", "traffic.world.users=240", "traffic.world.log_requests=5")
    run = read_run(run_experiment(small(*fewer, *days, example="exhausted.toml"), tmp_path / "run"))
    said, revenue = run.scorecard["market"], run.scorecard["metrics"]["revenue_per_request"]
    assert set(said["exhausted_share"].values()) == {1.0}
    assert said["revenue_lost"] > 0.5
    ledger = (
        run.table("ledger").to_pandas().pivot(index=["day", "advertiser"], columns="world", values="spend")
    )
    assert ledger["all:control"].equals(ledger["all:treatment"])
    assert revenue["true_lift"] == 0.0
    assert abs(revenue["lift"]) > 0.01


def test_another_seed_gives_other_tables(demo: Run, tmp_path: Path) -> None:
    other = table_bytes(run_experiment(small("seed=8"), tmp_path / "run"))
    ours = table_bytes(demo.path)
    assert all(other[name] != ours[name] for name in ours)


def test_identical_arms_differ_by_exactly_nothing_in_truth(identical: Run) -> None:
    for entry in identical.scorecard["metrics"].values():
        assert entry["true_lift"] == 0.0
        assert entry["true_se"] == 0.0
    truth = identical.table("truth").to_pandas()
    arms = [truth[truth.arm == arm].drop(columns="arm").reset_index(drop=True) for arm in ("control", "twin")]
    assert arms[0].equals(arms[1])


def test_identical_arms_serve_every_request_alike(identical: Run) -> None:
    served = identical.table("served").to_pandas()
    arms = [
        served[served.arm == arm].drop(columns=["arm", "assigned"]).reset_index(drop=True)
        for arm in ("control", "twin")
    ]
    assert arms[0].equals(arms[1])


def test_re_splits_of_identical_arms_reject_about_one_test_in_twenty(identical: Run) -> None:
    for p_values in resplit(identical.table("users"), 200).values():
        assert 0.02 <= np.mean(p_values < 0.05) <= 0.09


def test_every_request_is_served_once_by_every_arm_and_assigned_once(demo: Run) -> None:
    served = demo.table("served").to_pandas()
    per_request = served.groupby("request_id").agg(arms=("arm", "count"), assigned=("assigned", "sum"))
    assert (per_request.arms == 2).all()
    assert (per_request.assigned == 1).all()
    assert (served[served.assigned & (served.period == "pre")].arm == "control").all()


def test_no_request_uses_history_it_could_not_have_read(demo: Run) -> None:
    served = demo.table("served").to_pandas()
    assert (served.history_used <= served.history_available).all()
    assert (served.history_used[served.step_name == "prior"] == 0).all()


def test_the_ledger_adds_up_to_the_impressions(demo: Run) -> None:
    ledger = demo.table("ledger").to_pandas()
    shown = demo.table("impressions").to_pandas()
    spent = ledger[ledger.world == "ab"].spend.sum()
    assert spent == pytest.approx(shown[shown.period == "experiment"].charged.sum())
    limited = ledger[ledger.budget.notna()]
    assert (limited.spend <= limited.budget * (1 + 1e-12)).all()


def test_a_missed_or_prior_request_shows_the_prior_order(demo: Run, tmp_path: Path) -> None:
    tight = read_run(run_experiment(small("experiment.budget_ms=3"), tmp_path / "run"))
    served = tight.table("served").to_pandas()
    unranked = served[served.missed | (served.step_name == "prior")][["request_id", "arm"]]
    shown = tight.table("impressions").to_pandas().merge(unranked)
    assert shown.ad_id.value_counts().max() > 1
    per_ad = shown.groupby("ad_id").pctr.nunique()
    assert (per_ad == 1).all()  # an item's logged CTR, whoever the user is


def test_three_arms_get_an_entry_each(tmp_path: Path) -> None:
    config = load_config(
        EXAMPLES / "three-arms.toml", [s for s in SMALL if not s.startswith("arms")], environment={}
    )
    run = read_run(run_experiment(config, tmp_path / "run"))
    arms = run.scorecard["arms"]
    assert list(arms) == list(config.arm_names)
    assert all("metrics" in arms[name] for name in config.arm_names[1:])


class Heard:
    """Progress that is remembered: what was said of the serving."""

    def __init__(self) -> None:
        self.served: list[tuple[int, int]] = []

    def stage(self, name: str, done: int, total: int) -> None:
        if name == "serve":
            self.served.append((done, total))


def test_live_service_times_are_measured_and_the_binding_is_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.arms.live._PAUSE_EVERY", 10)
    heard = Heard()
    batches = ("arms.control.max_batch=2", "arms.treatment.max_batch=2")  # little to calibrate
    few = ("traffic.world.requests=200", "arms.treatment.history=40", *batches)
    config = small("experiment.service_times=live", *few)
    run = read_run(run_experiment(config, tmp_path / "run", progress=heard))
    assert run.scorecard["service_times"] == "live"
    # How far it is is said while an arm is served, in requests of both arms.
    assert {total for _, total in heard.served} == {2 * 200}
    assert heard.served[0][0] == 0
    assert heard.served[-1][0] == 2 * 200
    assert sum(0 < done < 200 for done, _ in heard.served) > 10
    assert sum(200 < done < 400 for done, _ in heard.served) > 10
    notes = run.manifest["arm_notes"]
    assert 0.0 < notes["control"]["binding_share"] < 1.0
    served = run.table("served").to_pandas()
    scored = served[served.score_end_ms.notna()]
    assert len(scored) > 0
    assert (scored.score_end_ms > scored.score_start_ms).all()


def test_an_existing_folder_is_left_alone(demo: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    folder = run_experiment(small(), tmp_path / "run")
    assert folder == tmp_path / "run-2"
    assert (tmp_path / "run" / "mine.txt").read_text() == "mine"


def test_the_manifest_says_what_ran_and_on_whose_times(demo: Run) -> None:
    manifest = json.loads((demo.path / "manifest.json").read_text())
    assert manifest["world"]["preset"] == "demo"
    assert manifest["profile_machine"]
    assert manifest["versions"]["torch"]
    assert manifest["time_compression"] > 0
    assert not (demo.path / "work").exists()


def test_a_users_split_is_reproducible_from_the_tables(demo: Run) -> None:
    users = demo.table("users").to_pandas()
    served = demo.table("served").to_pandas()
    mine = served[served.assigned & (served.period == "experiment")]
    counts = mine.groupby("user_id").size().reindex(users.user_id).to_numpy()
    assert np.array_equal(counts, users.requests.to_numpy())


def test_the_scorecard_names_the_bottleneck_that_the_service_times_make(demo: Run, tmp_path: Path) -> None:
    profile = load(small().experiment.profile_path)
    seqvault = small().arms["treatment"].store_key
    reads = {h: tuple(2000 * s for s in samples) for h, samples in profile.store[seqvault].items()}
    save(replace(profile, store={**profile.store, seqvault: reads}), tmp_path / "slow.json")
    slow = read_run(run_experiment(small(f"experiment.profile={tmp_path / 'slow.json'}"), tmp_path / "run"))

    def named(run: Run) -> dict[str, str]:
        return {name: arm["serving"]["bottleneck"] for name, arm in run.scorecard["arms"].items()}

    assert named(demo) == {"control": "scorer", "treatment": "scorer"}
    assert named(slow) == {"control": "scorer", "treatment": "store"}


def test_utilisation_agrees_with_the_served_table(demo: Run) -> None:
    served = demo.table("served").to_pandas()
    served = served[(served.arm == "treatment") & (served.period == "experiment")]
    span_s = (served.sim_arrival_s + served.latency_ms / 1e3).max() - served.sim_arrival_s.min()
    serving = demo.scorecard["arms"]["treatment"]["serving"]
    reading_s = (served.store_end_ms - served.store_start_ms).sum() / 1e3
    assert serving["store_utilisation"] == pytest.approx(reading_s / span_s / serving["store_workers"])
    # Batches that were scored at one moment are one piece of work.
    begun = served.sim_arrival_s + served.score_start_ms / 1e3
    batches = served.assign(begun=begun.round(9)).dropna(subset="score_start_ms").drop_duplicates("begun")
    scoring_s = (batches.score_end_ms - batches.score_start_ms).sum() / 1e3
    assert serving["scorer_utilisation"] == pytest.approx(scoring_s / span_s / serving["scorers"], rel=0.01)
