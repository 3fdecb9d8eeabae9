"""What the papers say of cost and exactness, measured model by model. Start at `measure`.

Rows by `part`:

    operations  multiply-accumulates of a request with 1 and with 100 candidates, by its history's length
    latency     of one request, as `benchmarks/serving/latency.py` times it, by its history's length
    cache       how far VQL's cached form is from its exact one, and quantised keys from keys as they are

Models are those that training begins with, at their default options: what they have learned changes no cost.
For the cache the codes lie among the keys of a batch, as when training begins.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from benchmarks.models.study_plan import SUMMARY_KEPT
from benchmarks.result import Measured
from benchmarks.serving.latency import Case, rows_of
from benchmarks.serving.latency_requests import ADS, CATEGORIES, requests_of
from laser.attention.quantised import nearest
from laser.batch import RankingBatch
from laser.models import ModelConfig, build_model
from laser.models.vql import Vql
from laser.operations import multiply_accumulates
from laser.scoring.runtime import resolve_device
from simulator.traffic.behaviours import ACTIONS, SCENES

SEED = 7
WIDTH = 16
LENGTHS, QUICK_LENGTHS = (1000, 10_000), (100, 200)
COUNTED = ("din", "laser", "transformer", "stca", "vista", "vql")
# One layer reads from the target alone, two let behaviours read each other, which is what costs.
OPTIONS = {"transformer": {"layers": 2}}
TIMED = (*COUNTED, "vista" + SUMMARY_KEPT, "vql" + SUMMARY_KEPT)
CACHED_LENGTHS, QUICK_CACHED = (100, 1000, 10_000), (50, 100)
_CANDIDATES = 100


def measure(quick: bool, device: str) -> Measured:
    """Rows of all parts; there are no bars."""
    lengths = QUICK_LENGTHS if quick else LENGTHS
    where = resolve_device(device)
    rows = [_operations(model, length) for model in COUNTED for length in lengths]
    for name in TIMED:
        for length in lengths:
            model = name.removesuffix(SUMMARY_KEPT)
            case = Case(name, model, length, OPTIONS.get(model, {}))
            for row in rows_of(case, where, quick):
                rows.append({"part": "latency", "device": where.type, **row})
                print(
                    name, length, row["candidates"], row["mode"], row["p50_ms"], file=sys.stderr, flush=True
                )
    rows += [_cache(length) for length in (QUICK_CACHED if quick else CACHED_LENGTHS)]
    return rows, []


def _config(model: str, **options: Any) -> ModelConfig:
    return ModelConfig(model, CATEGORIES, ADS, SCENES, ACTIONS, WIDTH, options)


def _operations(model: str, history: int) -> dict[str, Any]:
    built = build_model(_config(model, **OPTIONS.get(model, {})), SEED).eval()
    counted = {f"macs_{count}": multiply_accumulates(built, history, count) for count in (1, _CANDIDATES)}
    return {"part": "operations", "model": model, "history": history, "width": WIDTH, **counted}


def _cache(history: int) -> dict[str, Any]:
    """On the CPU: VQL's forms beside each other, for requests of one length."""
    batches = requests_of(history, _CANDIDATES, 8, SEED)
    cached = build_model(_config("vql"), SEED).eval()
    assert isinstance(cached, Vql)
    cached.look_at(batches[0])
    exact = build_model(_config("vql", form="exact"), SEED).eval()
    exact.load_state_dict(cached.state_dict())
    apart, errors, bounds = 0.0, [], []
    with torch.inference_mode():
        for batch in batches:
            probabilities = [model(batch).sigmoid() for model in (cached, exact)]
            apart = max(apart, float((probabilities[0] - probabilities[1]).abs().max()))
            error, bound = _weights_apart(cached, batch)
            errors.append(error.flatten())
            bounds.append(bound.flatten())
    error, bound = torch.cat(errors), torch.cat(bounds)
    return {
        "part": "cache",
        "history": history,
        "largest_change": apart,
        "weights_l1_mean": float(error.mean()),
        "weights_l1_largest": float(error.max()),
        "beyond_bound": int((error > bound + 1e-4).sum()),
        "summary_bytes": cached.summary_bytes,
    }


def _weights_apart(model: Vql, batch: RankingBatch) -> tuple[Tensor, Tensor]:
    """(B, C, G, A): sum over behaviours of how far quantised keys move a weight, and its bound e^2e - 1.

    e is the largest change of a score; the bound does not know the history's length (arXiv:2508.17125).
    """
    target = model.category(batch.ad_category)
    _, keys, kernel = model._user_side(batch)
    chosen = model._rows(nearest(keys, model.codes))
    query = model._queries(target)

    def scores(of: Tensor) -> Tensor:
        return torch.einsum("bcgak,bglk->bcgal", query, of)

    own, quantised = scores(keys), scores(chosen)
    real = kernel[:, None, :, None]
    weights = [(one + real.log()).softmax(dim=4) for one in (own, quantised)]
    moved = ((own - quantised).abs() * (real > 0)).amax(dim=4)
    return (weights[0] - weights[1]).abs().sum(dim=4), torch.expm1(2.0 * moved)
