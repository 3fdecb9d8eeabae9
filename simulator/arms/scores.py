"""The value plane: read the arm's real store, run its real models, for exactly what the timing plane allows.

With organic feedback a score depends on (request, arm, ladder step) only, so it is computed once
and reused by the A/B, the counterfactual runs and every sweep cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.scoring.buckets import BucketScorer
from laser.scoring.requests import Requests
from laser.scoring.snapshot import Snapshot
from seqvault.store import HistoryBatch
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.histories.asked import Answer, Ask
from simulator.arms.histories.loaded import load_whole
from simulator.arms.histories.readers import SHARED, Place, Readers
from simulator.arms.histories.replayed import ReplayedStore
from simulator.arms.histories.trace_store import TraceStore
from simulator.arms.kept import KeptScores
from simulator.arms.models import TrainedModel, snapshots
from simulator.arms.plan import Plan
from simulator.arms.summaries import Refreshes, refreshes_of, summary_inputs
from simulator.execution.cache import scored
from simulator.execution.checkpoints import ScoreFiles, inputs_of
from simulator.inputs.prepare import Prepared
from simulator.serving.arm import LadderStep

F4 = NDArray[np.float32]
# Calls of a scorer whose requests are sorted by shape together: the more, the fewer places stay empty.
_TOGETHER = 8
_COMPARED = 256  # requests of a step, about, scored in fp32 too where an arm has another precision


@contextmanager
def replayed_store(prepared: Prepared, arm: Arm, folder: Path, first: int = 0) -> Iterator[ReplayedStore]:
    """Open and load an arm's store in `folder`, for the requests from `first` on.

    Raises:
        StoreError: the store cannot be opened, or the disk is full.
    """
    with arm.open_store(folder) as store:
        yield ReplayedStore(prepared, store, arm.settings.store, first)


def trained_snapshots(
    plan: Plan, arm: Arm, trained: Mapping[ModelSpec, TrainedModel], precision: str | None = None
) -> dict[str, Snapshot]:
    """An arm's models with their trained weights, by their keys on its ladder; see `snapshots`.

    Raises:
        CheckpointError: a checkpoint is damaged.
    """
    return snapshots(arm, lambda spec: trained[spec].open(), plan.device, precision)


def requests_of(
    prepared: Prepared,
    rows: NDArray[np.int64],
    history: HistoryBatch,
    candidates: int | None = None,
    age_s: F4 | None = None,
) -> Requests:
    """What a model reads of some requests: their histories and all their candidates, for the top slot.

    Args:
        rows: (B,) rows of the trace, in the order of `history`'s users.
        history: with at least MODEL_COLUMNS.
        candidates: another number of them than the trace's, repeated or cut; for measurements.
        age_s: (N,) the behaviours' ages; None: at their requests.
    """
    requests, columns = prepared.requests, history.columns
    ads = requests.candidates[rows]
    if candidates is not None and candidates != ads.shape[1]:
        ads = np.take(ads, np.arange(candidates) % ads.shape[1], axis=1)  # rows of it as a trace's lie
    ads = ads.astype(np.int64)
    if age_s is None:
        age_s = (np.repeat(requests.arrival_s[rows], history.lengths) - columns["time_s"]).astype(np.float32)
    return Requests(
        category=columns["category"],
        action=columns["action"],
        scene=columns["scene"],
        age_s=age_s,
        dwell_s=columns["dwell_s"],
        offsets=history.offsets,
        ad=ads,
        ad_category=prepared.world.catalogue.category[ads],
        # Where an ad will be shown is the auction's outcome; all are scored for the top slot.
        position=np.zeros_like(ads),
        candidate_count=np.full(len(rows), ads.shape[1]),
        hour=requests.hour[rows],
        propensity=requests.propensity[rows],
    )


def score_inputs(plan: Plan, arm: Arm, trained: Mapping[ModelSpec, TrainedModel]) -> str:
    """The digest of what an arm's scores are made from; arms with the same one have the same scores."""
    return scores_made_of(plan, arm, {spec: model.digest for spec, model in trained.items()})


def scores_made_of(plan: Plan, arm: Arm, models: Mapping[ModelSpec, str]) -> str:
    """`score_inputs`, with a digest for each model: of its weights, or of what these will be made from."""
    return inputs_of(
        store=(arm.settings.store, arm.settings.store_options),
        steps=[(models[arm.model_of(step)], step.history) for step in arm.scored_steps],
        precision=arm.settings.precision,
        summaries=[summary_inputs(plan, arm, step) for step in arm.scored_steps],
        data=plan.prepared.digest,
        device=plan.device,
        threads=plan.threads,
    )


def score_needed(
    plan: Plan,
    arm: Arm,
    needed: NDArray[np.bool_],
    trained: Mapping[ModelSpec, TrainedModel],
    store: Path,
    scores: Path | None,
    readers: int = 0,
) -> tuple[list[F4], dict[str, Any]]:
    """Score an arm's requests at the ladder steps that are needed, where no other run has.

    In batches of shapes that are planned for each step (`laser.scoring.buckets`), so that a request's logits
    do not depend, even in their last bits, on which others happened to be needed.

    Args:
        needed: (R, K) for K steps with a model.
        trained: the experiment's models.
        store: where the arm's store lives.
        scores: folder of checkpoints: scores found there are not computed again. None keeps nothing.
        readers: processes that read the store ahead; 0 reads in turn with scoring. Scores are the same.

    Returns:
        Of each of the K steps (R, C) float32 logits, at least what is needed and NaN where not known,
        memory-mapped where all of it was kept; and notes for the manifest, by model: the weights' version
        and the shapes, or why requests went one by one. Of what was kept there are none.

    Raises:
        Interrupted: that was asked for; what was scored is kept.
        PluginError: a store or model of the user's own fails, or does not keep its promises.
    """
    others = KeptScores(plan, arm, trained)
    kept = others.find()
    missing = needed & ~np.stack([scored(of_step) for of_step in kept], axis=1)
    fresh = np.asarray(missing.any(axis=0))
    if not fresh.any():
        return kept, {}
    logits, notes, whole = _scored(plan, arm, missing, trained, store, scores, readers)
    for k in np.flatnonzero(fresh):
        known = np.flatnonzero(~np.isnan(kept[k][:, 0]))
        logits[k, known] = kept[k][known]
        kept[k] = logits[k]
    if whole:
        others.keep(kept, fresh)
    return kept, notes


@dataclass(frozen=True)
class _Piece:
    """Requests scored in one call.

    Attributes:
        step: of the ladder, its number.
        rows: (B,) of the trace, those of one shape together.
        ask: what their model reads of their histories.
        reached: all requests below it are scored then; None where this is not known.
    """

    step: int
    rows: NDArray[np.int64]
    ask: Ask
    reached: int | None


def _scored(
    plan: Plan,
    arm: Arm,
    needed: NDArray[np.bool_],
    trained: Mapping[ModelSpec, TrainedModel],
    folder: Path,
    scores: Path | None,
    readers: int,
) -> tuple[F4, dict[str, Any], bool]:
    """As `score_needed`, from the store and the models: (K, R, C) logits, notes, and whether to keep them."""
    prepared, steps = plan.prepared, arm.scored_steps
    inputs = score_inputs(plan, arm, trained)
    files = ScoreFiles(scores, inputs, needed, prepared.requests.candidates.shape[1])
    left = np.flatnonzero(files.missing.any(axis=1))
    if len(left) == 0:
        return files.logits, {}, True
    models = {
        key: BucketScorer(snapshot, threads=plan.threads)
        for key, snapshot in trained_snapshots(plan, arm, trained).items()
    }
    kept = refreshes_of(plan, arm)
    # Nothing is timed here, so what no step reads need not be written; what a summary was made of is older.
    longest = max(step.history for step in steps) if kept is None else None
    with arm.open_store(folder) as store, ExitStack() as stack:
        trace = TraceStore(prepared, store, arm.settings.store)
        pieces = list(_pieces(prepared, arm, files.missing, trace, models, kept))
        ahead = None
        if readers and arm.settings.store in SHARED:
            place = Place(arm.settings.store, folder, arm.store_options)
            most = max(len(piece.rows) * piece.ask.newest for piece in pieces)
            ahead = stack.enter_context(Readers(place, min(readers, len(pieces)), most))
        load_whole(prepared, store, int(left[0]), longest)
        for piece, found in _answered(trace, pieces, ahead):
            step = steps[piece.step]
            seen = requests_of(prepared, piece.rows, found.batch, age_s=found.age_s)
            model = models[step.model or ""]
            files.logits[piece.step, piece.rows] = model.score(seen, step.history).logits
            if piece.reached is not None:
                files.reached(piece.reached, {key: m.smaller for key, m in models.items() if m.smaller})
        changes = precision_notes(plan, arm, trained, trace, files.logits)
    notes = {key: {**model.notes, **changes.get(key, {})} for key, model in models.items()}
    # Smaller batches for want of memory may round otherwise: another run should not meet them.
    return files.logits, notes, not any(model.smaller for model in models.values())


def _pieces(
    prepared: Prepared,
    arm: Arm,
    missing: NDArray[np.bool_],
    trace: TraceStore,
    models: Mapping[str, BucketScorer],
    kept: Refreshes | None,
) -> Iterator[_Piece]:
    """What is missing, some full batches at a time; between two pieces a run that is asked to end does."""
    size = max(model.at_a_time for model in models.values())
    available, candidates = prepared.history_available, prepared.requests.candidates.shape[1]
    for first in range(0, len(missing), _TOGETHER * size):
        chunk = np.arange(first, min(first + _TOGETHER * size, len(missing)))
        wanted = np.flatnonzero(missing[chunk].any(axis=0))
        for k in wanted:
            step, rows = arm.scored_steps[k], chunk[missing[chunk, k]]
            rows = rows[models[step.model or ""].neighbours(available[rows], step.history, candidates)]
            for part in range(0, len(rows), size):
                last = k == wanted[-1] and part + size >= len(rows)
                some = rows[part : part + size]
                yield _Piece(
                    int(k), some, _ask(arm, step, some, trace, kept), int(chunk[-1]) + 1 if last else None
                )


def _answered(
    trace: TraceStore, pieces: Sequence[_Piece], ahead: Readers | None
) -> Iterator[tuple[_Piece, Answer]]:
    """Each piece with what its requests find in the loaded store, valid until the next."""
    if ahead is None:
        for piece in pieces:
            yield piece, trace.answer(piece.rows, piece.ask)
        return
    ahead.open()
    for piece, found in zip(pieces, ahead.answers(piece.ask for piece in pieces), strict=True):
        yield piece, trace.checked(piece.rows, piece.ask, found)


def precision_notes(
    plan: Plan, arm: Arm, trained: Mapping[ModelSpec, TrainedModel], store: TraceStore, logits: F4
) -> dict[str, dict[str, Any]]:
    """How far an arm's precision moves probabilities from fp32, on a sample of what was scored.

    Args:
        store: at any moment after the requests.
        logits: (K, R, C), NaN where not scored.

    Returns:
        By model, for the manifest; nothing for an arm in fp32.
    """
    notes: dict[str, dict[str, Any]] = {}
    if arm.settings.precision == "fp32":
        return notes
    exact = {
        key: BucketScorer(snapshot, threads=plan.threads)
        for key, snapshot in trained_snapshots(plan, arm, trained, "fp32").items()
    }
    kept = refreshes_of(plan, arm)
    for k, step in enumerate(arm.scored_steps):
        rows = np.flatnonzero(~np.isnan(logits[k, :, 0]))
        rows = rows[:: max(1, len(rows) // _COMPARED)]
        found = store.answer(rows, _ask(arm, step, rows, store, kept))
        requests = requests_of(plan.prepared, rows, found.batch, age_s=found.age_s)
        then = exact[step.model or ""].score(requests, step.history).logits
        moved = float(np.abs(_probability(then) - _probability(logits[k, rows])).max(initial=0.0))
        note = notes.setdefault(step.model or "", {"precision": arm.settings.precision})
        note["compared with fp32"] = note.get("compared with fp32", 0) + len(rows)
        note["largest change of a probability"] = max(moved, note.get("largest change of a probability", 0.0))
    return notes


def _probability(logits: F4) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return found


def _ask(
    arm: Arm, step: LadderStep, rows: NDArray[np.int64], store: TraceStore, kept: Refreshes | None
) -> Ask:
    """What a step's model reads of requests: the history of now, or that of which a summary was kept."""
    now = store.ask(rows, step.history)
    if kept is None or not arm.keeps_summary(step):
        return now
    return replace(now, before_s=kept.before_s[rows], at_s=kept.moment_s[rows])


def newest(payloads: Sequence[HistoryBatch], histories: Sequence[int]) -> HistoryBatch:
    """Several one-user batches as one, each cut to its newest `histories[i]` behaviours."""
    parts = []
    for payload, history in zip(payloads, histories, strict=True):
        parts.append({name: c[len(c) - min(history, len(c)) :] for name, c in payload.columns.items()})
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part["time_s"]) for part in parts], out=offsets[1:])
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return HistoryBatch(np.concatenate([p.user_ids for p in payloads]), offsets, columns)
