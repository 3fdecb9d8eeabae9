"""How long one request takes with every ranking model, from its ids on the host to its logits on the host.

    python benchmarks/serving/latency.py [--device auto|cpu|cuda] [--settings FILE] [--quick] [--json]
        [--out FILE]

Full histories, 100 and 500 candidates, one request at a time. Weights are those that training begins with:
what they hold hardly changes the time. Modes:

    cpu    one thread, what serves live: `laser.scoring.live.LiveScorer`.
    graph  a GPU, the same: planned, checked and packed into the block of a bucket of fixed shape, whose graph
           is replayed.
    eager  a GPU, `laser.scoring.runtime.Scorer`: it copies column by column and launches kernels one by one.

float32 throughout. Before a graph is timed its logits are compared with the Scorer's. A model that cannot be
captured has a row that says why ("skipped"). "summary kept" is a server that stores what does not depend on
the candidate and sends that in place of the behaviours; on a GPU its graph is this benchmark's own.

--settings: {model or name: {"options": {...}, "width": 16}}, which go before those of MODELS; the options of
a model's row in MODELS stay on top.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.models.study_plan import ABLATIONS, SUMMARY_KEPT, VARIANT
from benchmarks.result import options, show
from benchmarks.serving.latency_requests import ADS, CATEGORIES, requests_of
from benchmarks.serving.latency_serving import Served, at_once, from_summary, kept
from laser.batch import RankingBatch
from laser.models import ModelConfig, RankingModel, build_model
from laser.scoring.live import LiveScorer
from laser.scoring.requests import Requests
from laser.scoring.runtime import DeviceError, Scorer, resolve_device
from laser.scoring.snapshot import freeze
from simulator.traffic.behaviours import ACTIONS, SCENES

SEED = 1
CANDIDATES = (100, 500)
WIDTH = 16
REQUESTS = 12  # different ones, taken in turn
SAME_LOGITS = 1e-4
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A row of the table: a model as it is served."""

    name: str
    model: str
    history: int
    options: dict[str, Any] = field(default_factory=dict)
    width: int = WIDTH


DOUBLING = f"{VARIANT}segments double every 8"
# What is timed; names are those of the rows of model_study.json, which the page puts beside.
MODELS = (
    Case("base", "din", 100),  # the ranker without a long history: DIN over the newest 100
    Case("din", "din", 1000),
    Case("twin", "twin", 5000),
    Case("sim", "sim", 5000),
    Case("transformer", "transformer", 1000),
    Case("hstu", "hstu", 1000),
    Case("laser", "laser", 1000),
    Case("stca", "stca", 1000),
    Case("vista", "vista", 1000),
    Case("vql", "vql", 1000),
    Case("vista" + SUMMARY_KEPT, "vista", 1000),
    Case("vql" + SUMMARY_KEPT, "vql", 1000),
    Case("din 50", "din", 50),
    Case("laser 5000", "laser", 5000),
    *(
        Case(name, "laser", history, options)
        for name, (options, history) in ABLATIONS.items()
        if name.startswith(VARIANT)
    ),
    Case(f"{DOUBLING}, L = 5000", "laser", 5000, ABLATIONS[DOUBLING][0]),
)


@dataclass(frozen=True)
class Effort:
    """Requests that are timed and those before: as many as fit the time, between the bounds."""

    most: int
    least: int
    fit_s: float
    warm_ups: int


ON_GPU = Effort(most=300, least=100, fit_s=0.3, warm_ups=20)
ON_CPU = Effort(most=1000, least=20, fit_s=1.5, warm_ups=2)
QUICK = Effort(most=5, least=2, fit_s=0.05, warm_ups=1)


def cases_of(settings: Row, quick: bool = False) -> list[Case]:
    """MODELS with the settings of a file; one for a name goes before one for its model.

    Raises:
        SystemExit: the settings name what is not timed.
    """
    known = {name for case in MODELS for name in (case.name, case.model)}
    if unknown := sorted(set(settings) - known):
        sys.exit(f"--settings names {unknown}, expected some of {sorted(known)}. Correct the file.")
    cases = []
    for case in MODELS:
        own: Row = settings.get(case.name, settings.get(case.model)) or {}
        history = min(case.history, 100) if quick else case.history
        chosen = {**own.get("options", {}), **case.options}
        cases.append(replace(case, history=history, options=chosen, width=own.get("width", case.width)))
    return cases


def settings_from(path: Path) -> Row:
    """What --settings holds.

    Raises:
        SystemExit: it cannot be read.
    """
    expected = 'expected JSON such as {"laser": {"options": {"segment": 5}, "width": 32}}. Correct the file.'
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"--settings {path} cannot be read ({error}), {expected}")
    if not isinstance(found, dict) or not all(isinstance(own, dict) for own in found.values()):
        sys.exit(f"--settings {path} holds {str(found)[:60]}, {expected}")
    return found


def rows_of(case: Case, device: torch.device, quick: bool = False) -> Iterator[Row]:
    """A model's rows: both numbers of candidates, each in the modes of the device."""
    said = {"name": case.name, "model": case.model, "history": case.history}
    said |= {"options": case.options, "width": case.width}
    modes = ("eager", "graph") if device.type == "cuda" else ("cpu",)
    try:
        config = ModelConfig(case.model, CATEGORIES, ADS, SCENES, ACTIONS, case.width, case.options)
        model = build_model(config, SEED).to(device).eval()
    except ValueError as error:  # an option that this version of the model does not have
        places = ((candidates, mode) for candidates in CANDIDATES for mode in modes)
        yield from ({**said, "candidates": c, "mode": m, **_skipped(error)} for c, m in places)
        return
    for candidates in CANDIDATES:
        requests = requests_of(case.history, candidates, 4 if quick else REQUESTS, SEED)
        for mode in modes:
            effort = QUICK if quick else ON_GPU if device.type == "cuda" else ON_CPU
            try:
                row = _SERVE[mode](case, model, requests, effort)
            except (RuntimeError, ValueError) as error:  # what cannot be captured, or scores otherwise
                row = _skipped(error)
            yield {**said, "candidates": candidates, "mode": mode, **row}


def _skipped(error: Exception) -> Row:
    return {"p50_ms": None, "p99_ms": None, "requests": 0, "skipped": _first_part(error)}


def _first_part(error: Exception) -> str:
    """What went wrong, without what was expected instead."""
    return str(error).split("\n")[0].partition(", expected")[0]


def _eager(case: Case, model: RankingModel, requests: list[RankingBatch], effort: Effort) -> Row:
    scorer = Scorer(model, model.category.weight.device)
    if not case.name.endswith(SUMMARY_KEPT):
        return timed(scorer.score, requests, effort)
    sent = [kept(model, batch) for batch in requests]
    return timed(at_once(from_summary(model), scorer.device), sent, effort)


def _live(case: Case, model: RankingModel, requests: list[RankingBatch], effort: Effort) -> Row:
    """What serves live; on the CPU a kept summary has no other form than the eager one."""
    if case.name.endswith(SUMMARY_KEPT):
        return _eager(case, model, requests, effort)
    live = LiveScorer(model, case.history, model.category.weight.device)
    live.warm(1, requests[0].candidates)
    sent = [Requests.of(batch) for batch in requests]
    logits = _agrees([live.score(one).logits for one in sent], model, requests)
    return {**timed(live.score, sent, effort), "logits_apart": logits}


def _graph(case: Case, model: RankingModel, requests: list[RankingBatch], effort: Effort) -> Row:
    if not case.name.endswith(SUMMARY_KEPT):
        return _live(case, model, requests, effort)
    snapshot, sent = freeze(model), [kept(model, batch) for batch in requests]
    with snapshot.computing():
        served = Served(from_summary(snapshot.model), sent[0], snapshot.device)
    logits = _agrees([served(columns).numpy().copy() for columns in sent], model, requests)
    return {**timed(served, sent, effort), "logits_apart": logits}


_SERVE = {"cpu": _live, "eager": _eager, "graph": _graph}


def _agrees(found: list[np.ndarray], model: RankingModel, requests: list[RankingBatch]) -> float:
    """How far logits are from the Scorer's, at most.

    Raises:
        RuntimeError: too far, or no numbers.
    """
    scorer, apart = Scorer(model, model.category.weight.device), 0.0
    for logits, batch in zip(found, requests, strict=True):
        apart = np.maximum(apart, float(np.abs(logits - scorer.score(batch)).max()))  # keeps NaN
    if not apart <= SAME_LOGITS:
        raise RuntimeError(f"logits differ from the Scorer's by {apart:.2g}")
    return float(apart)


def timed(serve: Callable[[Any], Any], requests: list[Any], effort: Effort) -> Row:
    """P50 and P99 of one request after another; `serve` returns when the logits are on the host."""
    for i in range(effort.warm_ups):
        serve(requests[i % len(requests)])
    taken_s: list[float] = []
    start_s = time.perf_counter()
    while len(taken_s) < effort.most:
        if len(taken_s) >= effort.least and time.perf_counter() - start_s > effort.fit_s:
            break
        request = requests[len(taken_s) % len(requests)]
        before_s = time.perf_counter()
        serve(request)
        taken_s.append(time.perf_counter() - before_s)
    p50_ms, p99_ms = (1e3 * float(np.percentile(taken_s, q)) for q in (50, 99))
    return {"p50_ms": p50_ms, "p99_ms": p99_ms, "requests": len(taken_s)}


def measure(args: argparse.Namespace) -> list[Row]:
    """All rows, each reported as it is done."""
    settings = settings_from(args.settings) if args.settings else {}
    try:
        device = resolve_device(args.device)
    except DeviceError as error:
        sys.exit(str(error))
    rows = []
    for case in cases_of(settings, args.quick):
        for row in rows_of(case, device, args.quick):
            rows.append(row)
            shown = row.get("skipped") or f"{row['p50_ms']:.3f} ms"
            print(row["name"], row["candidates"], row["mode"], shown, file=sys.stderr, flush=True)
    return rows


def command() -> None:
    """Parse the command line, measure, print."""
    parser = options(__doc__)
    parser.add_argument("--device", default="auto", help='"auto", "cpu" or "cuda"')
    parser.add_argument("--settings", type=Path, help="JSON: options and width by model or name")
    args = parser.parse_args()
    show("model_latency", SEED, args, (measure(args), []))


if __name__ == "__main__":
    command()
