"""What each plane is given: readable histories, the right examples, the right world, the right clock."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_runs import small

from seqvault.memory import MemoryStore
from simulator.arms import arm as arm_module
from simulator.arms import training
from simulator.arms.arm import arms_of, needed_models
from simulator.arms.clock import AUTO_BUDGET, make_clock
from simulator.arms.plan import make_plan
from simulator.arms.scores import replayed_store, score_needed
from simulator.arms.training import train_models
from simulator.config.load import ExperimentConfig
from simulator.experiment.run import run_experiment
from simulator.results.read import Run, read_run
from simulator.serving.capacity import time_compression, unloaded_p95_s
from simulator.serving.profile import load


class WatchedStore(MemoryStore):
    """Remembers what was asked of it and what it returned."""

    reads: list[tuple[np.ndarray, np.ndarray, int, list[np.ndarray]]]

    def read_last(self, user_ids, n, *, before_s=None, columns=None, scenes=None):  # type: ignore[no-untyped-def]
        batch = super().read_last(user_ids, n, before_s=before_s, columns=columns, scenes=scenes)
        times = [batch.of(i)["time_s"] for i in range(len(batch))]
        self.reads.append((np.asarray(user_ids), np.asarray(before_s), n, times))
        return batch


def test_scores_read_exactly_what_was_readable_at_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small()
    plan = make_plan(config)
    prepared, (arm,) = plan.prepared, plan.treatments
    trained = train_models(plan, tmp_path)
    WatchedStore.reads = []
    monkeypatch.setattr(arm_module, "open_store", lambda *a, **k: WatchedStore(tmp_path))
    needed = np.zeros((len(prepared.requests), len(arm.scored_steps)), bool)
    needed[::7, 0] = True
    logits, notes = score_needed(plan, arm, needed, trained, tmp_path / "store", None)
    assert (np.isnan(logits[0][:, 0]) == ~needed[:, 0]).all()
    step = arm.scored_steps[0]
    assert notes[step.model]["shapes"][-1].split(" x ")[1] == str(-(-step.history // 8) * 8)
    behaviours, requests = prepared.world.behaviours, prepared.requests
    rows = np.flatnonzero(needed[:, 0])
    read = [
        (user, t) for users, _, _, times in WatchedStore.reads for user, t in zip(users, times, strict=True)
    ]
    assert len(read) == len(rows)
    for row, (user, times) in zip(rows, read, strict=True):
        assert user == requests.user_id[row]
        start, end = behaviours.offsets[user], behaviours.offsets[user + 1]
        own = behaviours.time_s[start:end]
        limit_s = requests.arrival_s[row] - config.experiment.ingest_delay_s
        expected = own[own < limit_s][-arm.settings.history :]
        assert np.array_equal(times, expected)


def test_a_live_store_holds_of_each_requests_user_what_that_request_may_see_and_nothing_newer(
    tmp_path: Path,
) -> None:
    plan = make_plan(small())
    prepared = plan.prepared
    behaviours, requests, appends = prepared.world.behaviours, prepared.requests, []
    with replayed_store(prepared, plan.control, tmp_path / "store") as arm_store:
        append = arm_store.store.append
        arm_store.store.append = lambda *a: (appends.append(len(a[0])), append(*a))  # type: ignore[method-assign]
        for row in range(len(requests)):
            arm_store.ingest_for(row)
            user = requests.user_id[row]
            held = arm_store.store.read_last([user], 10_000, columns=["time_s"]).columns["time_s"]
            own = behaviours.time_s[behaviours.offsets[user] : behaviours.offsets[user + 1]]
            assert np.array_equal(held, own[own < prepared.readable_before_s[row]])
        assert len(appends) < len(requests) / 2
        arm_store.ingest(int(behaviours.time_s.max()) + 1)
        assert arm_store.store.stats()["behaviours"] == len(behaviours.time_s)


def test_stores_of_arms_never_compact_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, dict[str, object]]] = []

    def open_store(kind: str, path: Path, **options: object) -> MemoryStore:
        opened.append((kind, options))
        return MemoryStore(path)

    monkeypatch.setattr(arm_module, "open_store", open_store)
    for arm in arms_of(small()):
        arm.open_store(tmp_path / arm.name).close()
    assert opened == [("lastn", {}), ("seqvault", {"background": False})]


def test_models_learn_from_the_training_log_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latest: list[float] = []
    real = training.train

    def watched(config, how, examples, seed, **more):  # type: ignore[no-untyped-def]
        latest.append(float(examples.request_time_s.max()))
        return real(config, how, examples, seed, **more)

    monkeypatch.setattr(training, "train", watched)
    plan = make_plan(small())
    train_models(plan, tmp_path)
    holdout = plan.prepared.examples["holdout"]
    assert len(latest) == len(needed_models(plan.arms))
    assert max(latest) < holdout.request_time_s.min()


def test_a_model_that_a_run_has_trained_is_calibrated_for_other_lengths_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(small())
    full, prior = plan.control.ladder[0], plan.control.ladder[-1]
    short = replace(plan.control, serving=replace(plan.control.serving, steps=(full, prior)))
    every, one = (replace(plan, arms=(arm,)) for arm in (plan.control, short))
    (spec,) = needed_models([plan.control])
    expected = train_models(every, tmp_path / "expected")[spec]
    assert len(expected.platt) > 1
    monkeypatch.setenv("LASER_AB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LASER_AB_CACHE_GB", "1")
    assert training.missing(every) == [spec]
    train_models(one, tmp_path / "one", work=tmp_path / "one-work")
    monkeypatch.setattr(training, "train", None)
    assert training.missing(every) == []
    assert train_models(every, tmp_path / "every", work=tmp_path / "work")[spec].platt == expected.platt
    # What was calibrated for more lengths serves those who need fewer, and tells the same of itself.
    monkeypatch.setattr(training, "BucketScorer", None)
    fewer = train_models(one, tmp_path / "fewer", work=tmp_path / "fewer-work")[spec]
    assert fewer.platt == {full.history: expected.platt[full.history]}
    assert fewer.metrics == expected.metrics


def test_each_ladder_step_has_the_model_it_names() -> None:
    _, arm = arms_of(small())
    kinds = {step.name: arm.model_of(step).kind for step in arm.scored_steps}
    assert kinds == {"full": "laser", "1/2": "laser", "light": "din"} | (
        {"1/4": "laser"} if "1/4" in kinds else {}
    )


def test_the_clock_loads_the_slower_arm_and_budgets_for_the_treatment() -> None:
    config = small()
    plan, profile = make_plan(config), load(config.experiment.profile_path)
    prepared, clock = plan.prepared, make_clock(plan, profile)
    slowest = min(clock.capacity_rps.values())
    assert clock.capacity_rps["treatment"] == slowest < clock.capacity_rps["control"]
    expected = time_compression(prepared.requests.arrival_s, config.traffic.load, slowest)
    assert clock.compression == pytest.approx(expected)
    p95_s = unloaded_p95_s(
        plan.treatments[0].serving,
        profile,
        prepared.requests.candidates.shape[1],
        prepared.history_available,
    )
    assert clock.budget_s == pytest.approx(AUTO_BUDGET * p95_s)


@pytest.fixture(scope="module")
def two_slots(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExperimentConfig, Run]:
    config = small("market.slots=2", "market.budgets='unlimited'")
    return config, read_run(run_experiment(config, tmp_path_factory.mktemp("slots") / "run"))


def test_the_truth_of_an_arm_is_that_arms_own_pages(two_slots: tuple[ExperimentConfig, Run]) -> None:
    """Without budgets the A/B shows the very pages that the arm's own world shows."""
    _, run = two_slots
    shown = run.table("impressions").to_pandas()
    shown = shown[shown.period == "experiment"]
    clicks = shown.groupby(["arm", "request_id"], observed=True).p_click.sum()
    truth = run.table("truth").to_pandas().set_index(["arm", "request_id"]).expected_clicks
    assert np.allclose(clicks.to_numpy(), truth.loc[clicks.index].to_numpy())
    both = truth.unstack("arm")
    assert (both["control"] != both["treatment"]).any()


def test_an_ad_in_the_second_slot_clicks_as_the_world_says(two_slots: tuple[ExperimentConfig, Run]) -> None:
    config, run = two_slots
    shown = run.table("impressions").to_pandas()
    assert set(shown.slot) == {0, 1}
    world = make_plan(config).prepared.world
    row = np.searchsorted(world.requests.request_id, shown.request_id.to_numpy())
    p_click, p_convert = world.response(
        row, shown.ad_id.to_numpy().astype(np.int64), shown.slot.to_numpy().astype(int)
    )
    assert np.allclose(shown.p_click, p_click)
    assert np.allclose(shown.p_convert, p_convert)


def test_each_day_has_a_budget_of_its_own(tmp_path: Path) -> None:
    # Budgets of a few clicks' worth would be the same on every day of a world so small.
    run = read_run(run_experiment(small("market.budget_clicks=0"), tmp_path / "run"))
    ledger = run.table("ledger").to_pandas()
    ledger = ledger[ledger.world == "ab"]
    served = run.table("served").to_pandas()
    served = served[(served.arm == "control") & (served.period == "experiment")]
    per_day = (served.arrival_s // 86_400).value_counts().sort_index()
    budgets = ledger.groupby("day").budget.sum().sort_index()
    share = budgets / budgets.sum()
    assert np.allclose(share.to_numpy(), (per_day / per_day.sum()).to_numpy())


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    trained = train_models(make_plan(small()), tmp_path)
    din = next(model for spec, model in trained.items() if spec.kind == "din")
    other = make_plan(small(f"arms.treatment.checkpoint='{din.path}'"))
    with pytest.raises(ValueError, match=r"kind 'din' \(expected 'laser'\)"):
        train_models(other, tmp_path / "other")
