"""Arms that keep summaries: what their requests are scored by, and what keeping them costs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import small

from laser.checkpoint import save
from laser.errors import ModelError
from laser.models import build_model
from laser.scoring.runtime import Scorer
from seqvault.store import HistoryBatch
from simulator.arms.arm import SUMMARY_PARTS, Arm, ModelSpec, arms_of, needed_models
from simulator.arms.clock import make_clock, profile_times
from simulator.arms.kept import KeptScores
from simulator.arms.models import TrainedModel, model_config
from simulator.arms.plan import Plan, make_plan
from simulator.arms.profiling.machine import Grid, cells_of
from simulator.arms.scores import requests_of, score_inputs, score_needed
from simulator.arms.summaries import Refreshes, refreshes_of
from simulator.arms.summary_times import served_profile, summary_notes
from simulator.config.errors import ConfigError
from simulator.config.load import ExperimentConfig
from simulator.execution.checkpoints import file_digest
from simulator.serving.profile import ProfileError, ServiceProfile, load

DAY_S = 86_400.0
EVERY = 11  # requests of which one is scored


def kept(kind: str = "vista", refresh_s: float = DAY_S / 4, *more: str) -> ExperimentConfig:
    """The small experiment with a treatment that keeps summaries."""
    return small(
        f"arms.treatment.model={kind}",
        f"arms.treatment.summary.refresh_s={refresh_s}",
        "arms.treatment.light_model=none",
        *more,
    )


def unprofiled(config: ExperimentConfig) -> tuple[Plan, Arm, Refreshes]:
    plan = make_plan(config, profiled=False)
    (arm,) = plan.treatments
    found = refreshes_of(plan, arm)
    assert found is not None
    return plan, arm, found


def untrained(plan: Plan, folder: Path) -> dict[ModelSpec, TrainedModel]:
    """The experiment's models with weights away from a beginning that hides what a history says."""
    folder.mkdir(exist_ok=True)
    made = {}
    for spec in needed_models(plan.arms):
        model = build_model(model_config(plan.prepared.world.sizes, spec), seed=1)
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.2 * torch.randn(weights.shape, generator=draw)
        path = folder / f"{spec.key}.ckpt"
        save(model, path, {})
        made[spec] = TrainedModel(spec, path, file_digest(path), {}, {}, 0.0)
    return made


def with_parts(plan: Plan, arm: Arm, build_s: float, read_s: float) -> ServiceProfile:
    """The shipped profile with what `laser-ab profile` measures of a kept summary, every sample alike."""
    profile = load(plan.config.experiment.profile_path)
    read, build = (f"{arm.serving.full.model}{part}" for part in SUMMARY_PARTS)
    candidates = plan.prepared.requests.candidates.shape[1]
    cells: dict[str, Any] = {
        arm.serving.full.model or "": profile.score["laser/16"],
        read: {(0, candidates, batch): (read_s * batch,) * 100 for batch in (1, 2, 4, 8)},
        build: {(history, 1, 1): (build_s,) * 100 for history in (0, 1, 10_000)},
    }
    return replace(profile, score={**profile.score, **cells})


@pytest.mark.parametrize("kind", ["vista", "vql"])
def test_scores_are_those_of_a_summary_of_the_history_cut_at_its_refresh(kind: str, tmp_path: Path) -> None:
    plan, arm, found = unprofiled(kept(kind))
    prepared, trained = plan.prepared, untrained(plan, tmp_path / "models")
    needed = np.zeros((len(prepared.requests), len(arm.scored_steps)), np.bool_)
    needed[::EVERY, 0] = True
    logits, _ = score_needed(plan, arm, needed, trained, tmp_path / "store", None)
    scorer, behaviours = Scorer(trained[arm.main].open()), prepared.world.behaviours
    stale = 0
    for row in np.flatnonzero(needed[:, 0])[:12]:
        user = prepared.requests.user_id[row]
        place = int(np.searchsorted(behaviours.users, user))
        own = slice(int(behaviours.offsets[place]), int(behaviours.offsets[place + 1]))
        readable = behaviours.time_s[own] < found.moment_s[row] - plan.config.experiment.ingest_delay_s
        first, end = max(0, readable.sum() - arm.settings.history), readable.sum()
        columns = {name: column[own][first:end] for name, column in behaviours.columns.items()}
        history = HistoryBatch(np.array([user]), np.array([0, end - first]), columns)
        age_s = (found.moment_s[row] - columns["time_s"]).astype(np.float32)
        request = requests_of(prepared, np.array([row]), history, age_s=age_s)
        assert np.allclose(scorer.score(request.batch())[0], logits[0][row], atol=1e-5)
        request = requests_of(prepared, np.array([row]), history)  # ages to the request: no summary of then
        stale += int(not np.allclose(scorer.score(request.batch())[0], logits[0][row], atol=1e-4))
    assert stale > 6


def test_a_summary_is_refreshed_in_turn_and_made_for_its_first_reader() -> None:
    plan, _, found = unprofiled(kept(refresh_s=DAY_S))
    requests = plan.prepared.requests
    age_s = requests.arrival_s - found.moment_s
    assert age_s.min() >= 0.0
    assert age_s.max() < DAY_S
    phases = np.unique(np.round(found.moment_s % DAY_S))
    assert len(phases) == len(np.unique(requests.user_id))  # not all at once
    seen: set[tuple[int, int]] = set()
    for user, moment_s, due in zip(requests.user_id, np.round(found.moment_s), found.due, strict=True):
        assert due == ((user, moment_s) not in seen)
        seen.add((user, moment_s))
    often = unprofiled(kept(refresh_s=60.0))[2]
    assert often.due.mean() > 0.8 > found.due.mean()
    assert (often.before_s <= plan.prepared.readable_before_s).all()


def test_what_is_kept_is_part_of_what_scores_are_made_from(tmp_path: Path) -> None:
    plan, arm, _ = unprofiled(kept())
    other, longer, _ = unprofiled(kept(refresh_s=DAY_S))
    fresh = make_plan(small("arms.treatment.model=vista", "arms.treatment.light_model=none"), profiled=False)
    trained = untrained(plan, tmp_path)
    names = {
        score_inputs(plan, arm, trained),
        score_inputs(other, longer, trained),
        score_inputs(fresh, fresh.treatments[0], untrained(fresh, tmp_path / "fresh")),
    }
    assert len(names) == 3
    shared = [KeptScores(p, a, trained)._digests()[0] for p, a in ((plan, arm), (other, longer))]
    assert (
        len({*shared, KeptScores(fresh, fresh.treatments[0], untrained(fresh, tmp_path))._digests()[0]}) == 3
    )


def test_an_arm_with_summaries_has_no_shorter_steps_of_its_own_model() -> None:
    _, arm = arms_of(kept("vql", DAY_S, "arms.treatment.light_model=din"))
    assert [step.name for step in arm.ladder] == ["full", "light", "prior"]
    assert [arm.keeps_summary(step) for step in arm.scored_steps] == [True, False]


def test_reading_and_making_summaries_are_charged_as_measured() -> None:
    plan, arm, found = unprofiled(kept("vista", DAY_S / 4, "arms.treatment.model_options.seeds=4"))
    profile = with_parts(plan, arm, build_s=0.004, read_s=0.0005)
    served, notes = served_profile(plan, arm, profile), summary_notes(plan, arm, profile)["summary"]
    model, share = arm.serving.full.model or "", float(found.due.mean())
    store, transport = profile.store_grid(arm.serving.store), profile.transport_grid
    # 4 seeds of 24 float32, beside behaviours of 14 bytes.
    assert (notes["bytes_per_user"], notes["read_as_behaviours"]) == (384, 28)
    assert notes["refreshes"] == found.due.sum()
    assert notes["bytes"] == 384 * len(np.unique(plan.prepared.requests.user_id))
    # A build is its reading, its moving and its measured time; of at most 160 behaviours.
    least, most = (0.004 + store.at(h).mean() + transport.at(h).mean() for h in (1, 160))
    assert least <= notes["build_s"] / notes["refreshes"] <= most
    for history in (1, 100, 160):
        assert served.store_grid(arm.serving.store).at(history).mean() == pytest.approx(
            store.at(28).mean(), rel=0.01
        )
        assert served.transport_grid.at(history).mean() == pytest.approx(transport.at(28).mean(), rel=0.01)
        for batch in (1, 8):
            candidates = plan.prepared.requests.candidates.shape[1]
            mean_s = served.score_grid(model).at(history, candidates, batch).mean()
            made_s = share * notes["build_s"] / notes["refreshes"]
            assert mean_s == pytest.approx(batch * (0.0005 + made_s), rel=0.1)
    alone = np.array(served.score[model][0, plan.prepared.requests.candidates.shape[1], 1])
    assert (alone > 0.002).mean() == pytest.approx(share, abs=0.06)


def test_a_summary_of_more_bytes_than_any_measured_read_is_charged_as_several_reads() -> None:
    plan, arm, _ = unprofiled(kept("vql"))  # 25,608 bytes: 1,830 behaviours of 14
    profile = with_parts(plan, arm, build_s=0.004, read_s=0.0005)
    store = profile.store_grid(arm.serving.store)
    assert max(store.points[0]) == 1000
    expected = store.at(1000).quantile(0.5) + store.at(830).quantile(0.5)
    charged = served_profile(plan, arm, profile).store_grid(arm.serving.store).at(160).quantile(0.5)
    assert charged == pytest.approx(expected, rel=0.01)


def test_the_clock_and_the_times_of_an_arm_with_summaries_are_its_own() -> None:
    plan, arm, _ = unprofiled(kept())
    profile = with_parts(plan, arm, build_s=0.02, read_s=0.0005)
    cheap = with_parts(plan, arm, build_s=0.0001, read_s=0.0005)
    dear, light = (make_clock(plan, p).capacity_rps["treatment"] for p in (profile, cheap))
    assert dear < light
    times = profile_times(plan, arm, cheap)
    assert 0.0005 <= times.score_s((0,), arm.serving.full.model or "", (100,)) < 0.0012
    control = profile_times(plan, plan.control, cheap)
    assert served_profile(plan, plan.control, cheap) is cheap
    assert control.store_s(0, 50) > 0.0


@pytest.mark.parametrize("kind", ["vista", "vql"])
def test_a_profile_measures_making_a_summary_and_scoring_from_it(kind: str, tmp_path: Path) -> None:
    plan, arm, _ = unprofiled(kept(kind))
    model, sizes = arm.serving.full.model or "", plan.prepared.world.sizes
    with ExitStack() as stack:
        grid = Grid(100, (3,), (1, 4), (20, 100))
        found = cells_of(plan, grid, lambda spec: build_model(model_config(sizes, spec), 1), tmp_path, stack)
        own = {part: [c for c in found.cells if c.place == f"score/{model}{part}"] for part in SUMMARY_PARTS}
        read, build = own[";read"], own[";build"]
        assert sorted(cell.point for cell in read) == [(0, 3, 1), (0, 3, 4)]
        assert sorted(cell.point for cell in build) == [(20, 1, 1), (100, 1, 1)]
        for cell in (*read, *build):
            cell.sample()
            assert cell.wall_s[0] > 0.0


def test_a_profile_without_summaries_a_model_without_one_and_live_times_are_refused() -> None:
    with pytest.raises(ProfileError, match="laser-ab profile"):
        make_plan(kept())
    for kind, more in (("laser", ()), ("vista", ("arms.treatment.model_options.short=5",))):
        with pytest.raises(ModelError, match="keeps a summary of each user, but its model"):
            make_plan(kept(kind, DAY_S, *more), profiled=False)
    with pytest.raises(ConfigError, match="kept summaries are charged from a profile"):
        kept("vista", DAY_S, "experiment.service_times=live")
