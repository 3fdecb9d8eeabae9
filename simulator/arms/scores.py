"""The value plane: read the arm's real store, run its real models, for exactly what the timing plane allows.

With organic feedback a score depends on (request, arm, ladder step) only, so it is computed once
and reused by the A/B, the counterfactual runs and every sweep cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.scoring.buckets import BucketScorer
from laser.scoring.requests import Requests
from laser.scoring.snapshot import Snapshot
from seqvault.store import HistoryBatch, HistoryStore, ReadTime
from simulator.arms.arm import Arm, ModelSpec
from simulator.arms.kept import KeptScores
from simulator.arms.models import TrainedModel, snapshots
from simulator.arms.plan import Plan
from simulator.arms.read_sample import ReadSample
from simulator.arms.summaries import Refreshes, refreshes_of, summary_inputs
from simulator.execution.checkpoints import ScoreFiles, inputs_of
from simulator.inputs.prepare import Prepared
from simulator.serving.arm import LadderStep

F4 = NDArray[np.float32]
MODEL_COLUMNS = ("time_s", "category", "action", "scene", "dwell_s")  # what models read; never the item id
# Live, requests between two ingests, at most; reads are bounded in time, so it changes no result. In the
# quick world a synced append for every request took 2.3 ms each (LastN), longer than reading and scoring; for
# many 0.7 ms.
_INGEST_ROWS = 64
_COMPARED = 256  # requests of a step, about, scored in fp32 too where an arm has another precision


class ReplayedStore:
    """A history store that the log's behaviours are replayed into, kept up to date with log time.

    Behaviours before the first request are loaded at once; later ones are appended as the trace
    advances, always ahead of the requests that may read them. A run that goes on after an interruption
    loads a fresh store in the same way, up to the first request that is left: every behaviour is
    written once, whatever a killed process left of its store.
    """

    def __init__(
        self, prepared: Prepared, store: HistoryStore, kind: str, first: int = 0, newest: int | None = None
    ) -> None:
        """Load the store for the requests from `first` on; use `replayed_store`.

        Args:
            kind: the store's name, for messages.
            newest: of the behaviours loaded at once, how many of each user; None for all. Whoever reads no
                more than that finds the same: later ones are only added behind them.
        """
        self.store = store
        self._sample = ReadSample(prepared, kind)
        behaviours = prepared.world.behaviours
        self._users, self._columns = behaviours.user_id, behaviours.columns
        self._readers, self._readable_s = prepared.requests.user_id, prepared.readable_before_s
        time_s = behaviours.time_s
        first_s = int(self._readable_s[first:].min())
        before = time_s < first_s
        later = np.flatnonzero(~before)
        if newest is not None:
            before &= _places_from_newest(behaviours.offsets, before) < newest
        store.bulk_load(self._users[before], {name: c[before] for name, c in self._columns.items()})
        # Arrival order: by time, ties in the users' own order.
        self._later = later[np.argsort(time_s[later], kind="stable")]
        self._later_s = time_s[self._later]
        self._ingested = 0
        self._held = np.zeros(0, np.int64)  # of what was ingested: places left for later, see `ingest_for`
        self._ready = 0  # requests below need nothing more

    def ingest(self, before_s: int) -> None:
        """Append the behaviours with time_s < before_s that are not there yet."""
        self._append(self._due(before_s))

    def ingest_for(self, row: int) -> None:
        """Let a request find what it would find if each behaviour were appended at its own time.

        What other users did changes no read, so many requests share one durable append. The user of each
        gets nothing newer than that request may see: a store ahead of a read would have to look for its
        moment, and its time would not be the one measured in service.

        Args:
            row: of the trace; a row below an earlier one finds the store ahead of it.
        """
        if row < self._ready:
            return
        rows = np.arange(row, min(row + _INGEST_ROWS, len(self._readers)))
        users, first = np.unique(self._readers[rows], return_index=True)
        if len(users) < len(rows):  # up to where a user comes again, who may have gone on meanwhile
            rows = rows[: np.setdiff1d(np.arange(len(rows)), first)[0]]
            users, first = np.unique(self._readers[rows], return_index=True)
        due = self._due(int(self._readable_s[rows].max()))
        owners = self._users[self._later[due]]
        place = np.minimum(np.searchsorted(users, owners), len(users) - 1)
        unseen = self._later_s[due] >= self._readable_s[rows[first]][place]
        early = unseen & (users[place] == owners)
        self._append(due[~early])
        self._held, self._ready = due[early], int(rows[-1]) + 1

    def read(
        self, rows: NDArray[np.int64], history: int, before_s: NDArray[np.int64] | None = None
    ) -> HistoryBatch:
        """What requests find: each user's newest `history` behaviours of those readable at its moment.

        Args:
            before_s: (B,) or of those older than this.

        Raises:
            PluginError: a user's own store answers with another history, see `ReadSample`.
        """
        limit_s = self._readable_s[rows] if before_s is None else before_s
        batch = self.store.read_last(self._readers[rows], history, before_s=limit_s, columns=MODEL_COLUMNS)
        self._sample.check(rows, history, batch, limit_s)
        return batch

    def timed_read(self, row: int, history: int) -> tuple[HistoryBatch, ReadTime]:
        """`read` for one request, and how long the store took."""
        batch, spent = self.store.timed_read_last(
            self._readers[row : row + 1], history, before_s=int(self._readable_s[row]), columns=MODEL_COLUMNS
        )
        self._sample.check(np.array([row]), history, batch)
        return batch, spent

    def _due(self, before_s: int) -> NDArray[np.int64]:
        """Places, in order of arrival, of the behaviours before a time that were not appended yet."""
        end = max(int(np.searchsorted(self._later_s, before_s)), self._ingested)
        due = np.concatenate([self._held, np.arange(self._ingested, end)])
        self._held, self._ingested = due[:0], end
        return due

    def _append(self, places: NDArray[np.int64]) -> None:
        if len(places):
            rows = self._later[places]
            self.store.append(self._users[rows], {name: c[rows] for name, c in self._columns.items()})


def _places_from_newest(offsets: NDArray[np.int64], before: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each behaviour, how many of the same user's come after it that are `before` some moment, as it is.

    Args:
        offsets: (U + 1,) of each user's behaviours, oldest first.
        before: (N,) true at the front of each user's.
    """
    counts = np.concatenate([[0], np.cumsum(before)])
    last = counts[offsets[1:]]
    places: NDArray[np.int64] = np.repeat(last, np.diff(offsets)) - counts[1:]
    return places


@contextmanager
def replayed_store(
    prepared: Prepared, arm: Arm, folder: Path, first: int = 0, newest: int | None = None
) -> Iterator[ReplayedStore]:
    """Open and load an arm's store in `folder`, for the requests from `first` on; `newest` as there.

    Raises:
        StoreError: the store cannot be opened, or the disk is full.
    """
    with arm.open_store(folder) as store:
        yield ReplayedStore(prepared, store, arm.settings.store, first, newest)


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
    at_s: NDArray[np.float64] | None = None,
) -> Requests:
    """What a model reads of some requests: their histories and all their candidates, for the top slot.

    Args:
        rows: (B,) rows of the trace, in the order of `history`'s users.
        history: with at least MODEL_COLUMNS.
        candidates: another number of them than the trace's, repeated or cut; for measurements.
        at_s: (B,) log time that ages count to; None: the requests'.
    """
    requests, columns = prepared.requests, history.columns
    ads = requests.candidates[rows].astype(np.int64)
    if candidates is not None:
        ads = np.resize(ads.T, (candidates, len(rows))).T
    at_s = requests.arrival_s[rows] if at_s is None else at_s
    age_s = np.repeat(at_s, history.lengths) - columns["time_s"]
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
    return inputs_of(
        store=(arm.settings.store, arm.settings.store_options),
        steps=[(trained[arm.model_of(step)].digest, step.history) for step in arm.scored_steps],
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
) -> tuple[list[F4], dict[str, Any]]:
    """Score an arm's requests at the ladder steps that are needed, where no other run has.

    In batches of shapes that are planned for each step (`laser.scoring.buckets`), so that a request's logits
    do not depend, even in their last bits, on which others happened to be needed.

    Args:
        needed: (R, K) for K steps with a model.
        trained: the experiment's models.
        store: where the arm's store lives.
        scores: folder of checkpoints: scores found there are not computed again. None keeps nothing.

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
    missing = needed & np.stack([np.isnan(of_step[:, 0]) for of_step in kept], axis=1)
    fresh = missing.any(axis=0)
    if not fresh.any():
        return kept, {}
    logits, notes, whole = _scored(plan, arm, missing, trained, store, scores)
    for k in np.flatnonzero(fresh):
        known = np.flatnonzero(~np.isnan(kept[k][:, 0]))
        logits[k, known] = kept[k][known]
        kept[k] = logits[k]
    if whole:
        others.keep(kept, fresh)
    return kept, notes


def _scored(
    plan: Plan,
    arm: Arm,
    needed: NDArray[np.bool_],
    trained: Mapping[ModelSpec, TrainedModel],
    store: Path,
    scores: Path | None,
) -> tuple[F4, dict[str, Any], bool]:
    """As `score_needed`, from the store and the models: (K, R, C) logits, notes, and whether to keep them."""
    prepared = plan.prepared
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
    # Between two chunks a run that is asked to end does.
    rows = max(model.at_a_time for model in models.values())
    # Nothing is timed here, so what no step reads need not be written; what a summary was made of is older.
    longest = max(step.history for step in arm.scored_steps) if kept is None else None
    with replayed_store(prepared, arm, store, int(left[0]), longest) as replayed:
        for first in range(0, len(needed), rows):
            chunk = np.arange(first, min(first + rows, len(needed)))
            if files.missing[chunk].any():
                replayed.ingest(int(prepared.readable_before_s[chunk].max()))
                _score_chunk(prepared, arm, chunk, files, replayed, models, kept)
            files.reached(int(chunk[-1]) + 1, {key: m.smaller for key, m in models.items() if m.smaller})
        changes = precision_notes(plan, arm, trained, replayed, files.logits)
    notes = {key: {**model.notes, **changes.get(key, {})} for key, model in models.items()}
    # Smaller batches for want of memory may round otherwise: another run should not meet them.
    return files.logits, notes, not any(model.smaller for model in models.values())


def precision_notes(
    plan: Plan, arm: Arm, trained: Mapping[ModelSpec, TrainedModel], store: ReplayedStore, logits: F4
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
        requests = _seen(plan.prepared, arm, step, rows, store, kept)
        found = exact[step.model or ""].score(requests, step.history).logits
        moved = float(np.abs(_probability(found) - _probability(logits[k, rows])).max(initial=0.0))
        note = notes.setdefault(step.model or "", {"precision": arm.settings.precision})
        note["compared with fp32"] = note.get("compared with fp32", 0) + len(rows)
        note["largest change of a probability"] = max(moved, note.get("largest change of a probability", 0.0))
    return notes


def _probability(logits: F4) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    return found


def _score_chunk(
    prepared: Prepared,
    arm: Arm,
    chunk: NDArray[np.int64],
    files: ScoreFiles,
    store: ReplayedStore,
    models: Mapping[str, BucketScorer],
    kept: Refreshes | None,
) -> None:
    """Fill in the logits that are missing for the requests of a chunk."""
    for k, step in enumerate(arm.scored_steps):
        rows = chunk[files.missing[chunk, k]]
        if len(rows) == 0:
            continue
        seen = _seen(prepared, arm, step, rows, store, kept)
        files.logits[k, rows] = models[step.model or ""].score(seen, step.history).logits


def _seen(
    prepared: Prepared,
    arm: Arm,
    step: LadderStep,
    rows: NDArray[np.int64],
    store: ReplayedStore,
    kept: Refreshes | None,
) -> Requests:
    """What a step's model reads of requests: the history of now, or that of which a summary was kept."""
    if kept is None or not arm.keeps_summary(step):
        return requests_of(prepared, rows, store.read(rows, step.history))
    histories = store.read(rows, step.history, kept.before_s[rows])
    return requests_of(prepared, rows, histories, at_s=kept.moment_s[rows])


def newest(payloads: Sequence[HistoryBatch], histories: Sequence[int]) -> HistoryBatch:
    """Several one-user batches as one, each cut to its newest `histories[i]` behaviours."""
    parts = []
    for payload, history in zip(payloads, histories, strict=True):
        parts.append({name: c[len(c) - min(history, len(c)) :] for name, c in payload.columns.items()})
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part["time_s"]) for part in parts], out=offsets[1:])
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return HistoryBatch(np.concatenate([p.user_ids for p in payloads]), offsets, columns)
