"""A world depends on its source alone: whatever else two experiments differ in, they share it."""

import pickle
from pathlib import Path

import pytest
from small_runs import EXAMPLES, small

from simulator.arms import plan as plans
from simulator.arms.plan import make_plan
from simulator.config.load import changed, load_config
from simulator.inputs import prepare as module
from simulator.inputs.prepare import forget


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ("arms.treatment.history=40", True),
        ("experiment.budget_ms=3", True),
        ("experiment.name=another", True),
        ("traffic.load=0.9", True),
        ("market.reserve_ecpm=1", True),
        ("traffic.world.users=121", False),
        ("experiment.days=2", False),
        ("market.slots=2", False),
        ("experiment.ingest_delay_s=30", False),
        ("seed=8", False),
    ],
)
def test_experiments_share_a_world_unless_it_is_another(
    change: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make_world = module.make_world
    monkeypatch.setattr(
        module, "make_world", lambda source, jobs: (made.append(source), make_world(source, jobs))[1]
    )
    forget()
    one, other = make_plan(small()), make_plan(small(change))
    assert (one.prepared is other.prepared) == shared
    assert len(made) == (1 if shared else 2)


def test_a_log_is_read_through_once_for_experiments_that_share_it(
    kuairand_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(plans, "check_files", lambda folder, manifest: read.append(folder))
    config = load_config(EXAMPLES / "kuairand.toml", [f"traffic.log={kuairand_log}"], environment={})
    first = make_plan(config)
    make_plan(changed(config, {"seed": 8}, "axis"), like=first)
    assert read == [kuairand_log]


def test_a_plan_comes_back_from_another_process_as_it_was() -> None:
    plan = make_plan(small())
    again = pickle.loads(pickle.dumps(plan))
    assert again == plan
    assert again.prepared is plan.prepared


def test_a_request_may_read_what_was_known_at_its_moment_and_nothing_later() -> None:
    prepared = make_plan(small()).prepared
    behaviours, requests = prepared.world.behaviours, prepared.requests
    for row in range(0, len(requests), 7):
        # The oracle: a filter over all behaviours.
        own_s = behaviours.time_s[behaviours.user_id == requests.user_id[row]]
        known = (own_s < requests.arrival_s[row] - prepared.source.ingest_delay_s).sum()
        assert prepared.history_available[row] == known
        assert (own_s < prepared.readable_before_s[row]).sum() == known
