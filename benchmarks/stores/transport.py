"""From store to scorer: all sequences of a request in one frame, or one frame per sequence or candidate.

    python benchmarks/stores/transport.py [--quick] [--json] [--out FILE]

A request has one user, SEQUENCES sequences and 100 candidates, all of which look at the same sequences.

    shared                one frame for the request, decoded once, its columns shared by the candidates
    per sequence          a frame for each sequence, decoded once
    per candidate         the request's frame sent with each candidate and decoded for it; compressed once
    per candidate and sequence    likewise, a frame for each sequence

Bytes sent, thread CPU and wall of compressing and decoding, of the same requests in random order of the ways.
Source: LASER, arXiv:2602.11562 (all sequences of a request compressed into one payload).
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.result import Measured, main
from benchmarks.stores.harness.clock import own_core
from benchmarks.stores.harness.generator import Histories, draw
from benchmarks.stores.harness.ratios import ratio
from seqvault.store import HistoryBatch
from seqvault.transport import pack, unpack

SEED = 7
ROUNDS = 5
CANDIDATES = 100
# The sequences of a request: what the user saw, clicked, and bought, by their action codes.
SEQUENCES = ((0,), (1,), (2, 3, 4, 5))
LENGTHS = (200, 1000, 10_000)

Sent = tuple[list[bytes], int]


def sequences_of(histories: Histories, i: int, n: int) -> list[dict[str, np.ndarray]]:
    """The newest n behaviours of each of a user's sequences."""
    columns = histories.newest(i, histories.rows)
    places = [np.flatnonzero(np.isin(columns["action"], actions))[-n:] for actions in SEQUENCES]
    return [{name: values[at] for name, values in columns.items()} for at in places]


def batch_of(user: int, sequences: list[dict[str, np.ndarray]]) -> HistoryBatch:
    """Sequences of one user in flat columns."""
    bounds = np.cumsum([0, *(len(s["time_s"]) for s in sequences)], dtype="i8")
    columns = {name: np.concatenate([s[name] for s in sequences]) for name in sequences[0]}
    return HistoryBatch(np.full(len(sequences), user, "u8"), bounds, columns)


def shared(together: HistoryBatch, apart: list[HistoryBatch]) -> Sent:
    """One frame, once."""
    return [pack(together)], 1


def per_sequence(together: HistoryBatch, apart: list[HistoryBatch]) -> Sent:
    """One frame per sequence, once."""
    return [pack(batch) for batch in apart], 1


def per_candidate(together: HistoryBatch, apart: list[HistoryBatch]) -> Sent:
    """One frame, with every candidate."""
    return [pack(together)], CANDIDATES


def per_both(together: HistoryBatch, apart: list[HistoryBatch]) -> Sent:
    """One frame per sequence, with every candidate."""
    return [pack(batch) for batch in apart], CANDIDATES


WAYS: dict[str, Callable[[HistoryBatch, list[HistoryBatch]], Sent]] = {
    "shared": shared,
    "per sequence": per_sequence,
    "per candidate": per_candidate,
    "per candidate and sequence": per_both,
}


def send(way: str, together: HistoryBatch, apart: list[HistoryBatch]) -> tuple[int, int, int]:
    """(bytes, CPU ns, wall ns) of one request: compressed, sent, decoded. What arrives is what was sent."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    frames, copies = WAYS[way](together, apart)
    for _ in range(copies):
        arrived = [unpack(frame) for frame in frames]
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    expected = [together] if len(frames) == 1 else apart
    for found, sent in zip(arrived, expected, strict=True):
        for name, values in sent.columns.items():
            if not np.array_equal(found.columns[name], values):
                raise RuntimeError(f"{way}: column {name} arrived changed")
    return copies * sum(map(len, frames)), cpu, wall


Request = tuple[HistoryBatch, list[HistoryBatch]]


def rounds(asked: list[Request], n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Every way for every request, ROUNDS times after one that warms up."""
    rows = []
    raw = np.mean([sum(v.nbytes for v in together.columns.values()) for together, _ in asked])
    for turn in range(-1, ROUNDS):
        took: dict[str, list[tuple[int, int, int]]] = {way: [] for way in WAYS}
        for together, apart in asked:
            for way in rng.permutation(list(WAYS)):
                took[str(way)].append(send(str(way), together, apart))
        for way, sent in took.items():
            size, cpu, wall = np.mean(sent, axis=0)
            what = {"n": n, "engine": way, "round": turn, "requests": len(asked), "raw_bytes": round(raw)}
            times = {"cpu_mean_us": round(cpu / 1e3, 1), "wall_mean_us": round(wall / 1e3, 1)}
            rows.append({**what, "bytes": round(size), **times})
    return [row for row in rows if row["round"] >= 0]


def measure(quick: bool) -> Measured:
    """Rounds of every way at every length, and what sharing saves."""
    users, requests = (60, 5) if quick else (600, 40)
    histories = draw(users, SEED)
    rng = np.random.default_rng(SEED)
    weights = histories.lengths / histories.rows
    rows: list[dict[str, Any]] = []
    with own_core():
        for n in LENGTHS:
            asked: list[Request] = []
            for i in rng.choice(users, requests, p=weights):
                sequences = sequences_of(histories, int(i), n)
                asked.append((batch_of(int(i), sequences), [batch_of(int(i), [s]) for s in sequences]))
            rows += rounds(asked, n, rng)
    for n in LENGTHS:
        for way in list(WAYS)[1:]:
            found = {m: ratio(rows, m, way, "shared", n=n) for m in ("bytes", "cpu_mean_us", "wall_mean_us")}
            rows.append({"n": n, "over shared": way, **found})
    return rows, []


if __name__ == "__main__":
    main("store_transport", __doc__, SEED, measure)
