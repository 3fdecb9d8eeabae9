"""Counted operations: against formulas, and against the papers' figures at the papers' geometry."""

from __future__ import annotations

from typing import Any

import pytest
from ranking_batches import config

from laser.models import ModelConfig, build_model
from laser.operations import multiply_accumulates, operations

TOWER = 4096 * 2048 + 2048 * 1024 + 1024 * 512 + 512
# The paper's width of 128 is a whole behaviour's here: 120 of what it was about, 8 of what kind it was.
# Every model keeps Base's short sequence of 100. Keys and values exist, pairs are concatenated, as the
# formulas are printed.
PAPER: dict[str, Any] = {"head": "tower", "short": 100, "short_hidden": 40}
STA = {"heads": 2, "query_width": 16, "value_width": 16, "ffn": 4, "layers": 2, "global_width": 60}


def paper(kind: str, history: int, **options: Any) -> int:
    model = build_model(ModelConfig(kind, 50, 40, 3, 3, 120, {**PAPER, **options}), seed=0)
    return multiply_accumulates(model, history, candidates=1)


@pytest.mark.parametrize(
    ("reported", "kind", "options"),
    [
        (1.3e7, "base", {}),
        (3.3e7, "din", {"hidden": 40, "whole": True, "pairs": True, "short": 0}),
        (3.6e8, "transformer", {"layers": 1, "all_rows": True}),
        (3.7e8, "hstu", {"layers": 1, "variant": "production", "all_rows": True}),
        (4.0e7, "laser", {**STA, "segment": 10}),
    ],
)
def test_operations_at_the_papers_geometry_are_the_papers(
    reported: float, kind: str, options: dict[str, Any]
) -> None:
    assert paper(kind, 1000, **options) == pytest.approx(reported, rel=0.05)


def test_hstus_research_form_stays_a_twentieth_below_the_papers_figure() -> None:
    """The paper does not say which form it counts: 5.05 % below it is this one, 3.9 % above it the
    production one."""
    found = paper("hstu", 1000, layers=1, key_width=64, all_rows=True)
    assert found == pytest.approx(0.95 * 3.7e8, rel=0.001)


def test_lasers_cost_by_window_is_the_papers() -> None:
    cost = {window: paper("laser", 1000, **STA, segment=window) for window in (5, 10, 20)}
    assert cost[5] / cost[10] == pytest.approx(1.5, rel=0.05)
    assert cost[20] / cost[10] == pytest.approx(0.75, rel=0.05)


def test_a_counted_base_is_its_tower_and_its_short_din() -> None:
    din = 100 * (512 * 40 + 40)  # units, and their sum; weighting the behaviours is no matrix product
    assert paper("base", 100) == TOWER + din
    assert paper("base", 1000) == TOWER + din
    assert paper("base", 50) == TOWER + din // 2


def test_what_candidates_share_is_counted_once() -> None:
    """Keys and values are the request's; scores, sums and tokens the candidate's."""
    model = build_model(config("laser", query_width=4, value_width=4, layers=0, ffn=0), seed=0)
    counted = operations(model, 100, candidates=(10, 30))
    width, seen, heads = 8, 16, 2
    context = 3 * 64  # the head's part that is the request's
    assert counted.per_request == 2 * heads * 4 * seen * 100 + context
    head = multiply_accumulates(model, 0, 2) - multiply_accumulates(model, 0, 1)
    scores_and_sums = 2 * heads * 4 * 100
    tokens = 10 * heads * 4 * width
    # An empty history is one segment of padding, and its query and token are in `head`.
    empty = 2 * heads * 4 * 10 + heads * 4 * width
    assert counted.per_candidate == head - empty + scores_and_sums + tokens
    assert counted.by_candidates[30] == counted.per_request + 30 * counted.per_candidate


def test_wider_segments_save_what_the_tokens_cost_and_nothing_else() -> None:
    """70 behaviours are 7 segments of 10, or one each of 10, 20 and 40."""
    even, doubling = (
        multiply_accumulates(build_model(config("laser", double_every=every), seed=0), 70, 6)
        for every in (None, 1)
    )
    width, seen, heads, inner, layers = 8, 16, 2, 16, 2
    token = heads * seen * width + 2 * width * inner + layers * heads * 2 * width
    assert even - doubling == 6 * (7 - 3) * token


def test_the_cached_summary_of_vql_costs_a_candidate_the_same_at_any_length() -> None:
    model = build_model(config("vql", codes=8), seed=0)
    short, long = (operations(model, history, (10, 20)) for history in (50, 500))
    assert short.per_candidate == long.per_candidate
    assert long.per_request > 5 * short.per_request


@pytest.mark.parametrize("kind", ["sim", "twin", "transformer", "hstu", "laser", "stca", "vista", "vql"])
def test_every_model_can_be_counted_and_stays_as_it_was(kind: str) -> None:
    model = build_model(config(kind), seed=0).train()
    counted = operations(model, 60, (3, 9))
    assert counted.per_candidate > 0
    assert counted.per_request >= 3 * 64  # the head's part that is the request's
    assert model.training
    assert all(weights.requires_grad for weights in model.parameters())


def test_parameters_are_counted_and_tables_apart() -> None:
    counted = operations(build_model(config("base"), seed=0), 0)
    tables = 50 * (4 + 1) + 30 * (8 + 8 + 1) + 64
    mlp = 12 * 64 + 64 + 3 * 64 + 64 * 32 + 32 + 32 + 1
    assert (counted.tables, counted.parameters) == (tables, tables + mlp + 1)
    assert counted.per_request == 3 * 64


def test_counting_needs_two_numbers_of_candidates() -> None:
    with pytest.raises(ValueError, match="expected two different numbers"):
        operations(build_model(config("base"), seed=0), 0, (5, 5))
    with pytest.raises(ValueError, match="expected 0 and 1 or more"):
        multiply_accumulates(build_model(config("base"), seed=0), 3, 0)
