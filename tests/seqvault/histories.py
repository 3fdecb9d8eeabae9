"""Shared by the store tests: kinds to test, random behaviours, and comparing a store with the dict oracle."""

from pathlib import Path

import numpy as np

from seqvault import HistoryBatch, HistoryStore, open_store

# Small blocks and early seals make a short test cross every boundary the vault has.
DURABLE: dict[str, tuple[str, dict[str, object]]] = {
    "lastn-chunks": ("lastn", {"layout": "chunks"}),
    "lastn-behaviours": ("lastn", {"layout": "behaviours"}),
    "lastn-blobs": ("lastn", {"layout": "blobs"}),
    "seqvault": ("seqvault", {}),
    "seqvault-small": ("seqvault", {"block_rows": 8, "seal_rows": 40}),
}
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    **DURABLE,
    "memory": ("memory", {}),
    "plug-in": ("seqvault.memory:MemoryStore", {}),  # behind the checks that a store of one's own gets
}

START_S = 1_700_000_000


def open_kind(kind: str, path: Path, **more: object) -> HistoryStore:
    """Open a store by the name it has in KINDS."""
    name, options = KINDS[kind]
    return open_store(name, path, **options, **more)  # type: ignore[arg-type]


def behaviours(seed: int, rows: int, users: int = 7, *, span_s: int = 400, at_s: int = START_S):
    """(user ids, columns) of random behaviours: mixed users, many equal times, in no order of time."""
    rng = np.random.default_rng(seed)
    columns = {
        "time_s": at_s + rng.integers(0, span_s, rows),
        "item_id": rng.integers(0, 1 << 63, rows, dtype="u8") * 2 + 1,
        "category": rng.integers(0, 1 << 16, rows),
        "action": rng.integers(0, 5, rows),
        "scene": rng.integers(0, 3, rows),
        "dwell_s": rng.integers(0, 3000, rows),
    }
    return rng.integers(0, users, rows), columns


def numbered(user_ids: list[int], times: list[int], first: int = 0):
    """(user ids, columns) whose item_id counts arrivals."""
    zeros = np.zeros(len(times), "i8")
    columns = dict.fromkeys(("category", "action", "scene", "dwell_s"), zeros)
    return user_ids, {"time_s": times, "item_id": np.arange(first, first + len(times)), **columns}


def same(found: HistoryBatch, expected: HistoryBatch) -> None:
    """Fail unless two batches agree in users, offsets, columns, dtypes and values."""
    np.testing.assert_array_equal(found.user_ids, expected.user_ids)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    assert list(found.columns) == list(expected.columns)
    for name, values in expected.columns.items():
        assert found.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(found.columns[name], values, err_msg=name)
