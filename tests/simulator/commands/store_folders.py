"""SeqVault folders for the tests of `laser-ab store`: filled, called on, looked into, damaged."""

from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from seqvault import BEHAVIOURS, Column, HistorySchema, SequenceType
from seqvault.vault import SeqVault
from simulator.cli import app

ORDERS = HistorySchema("orders", 3, (Column("time_s", "i8", "s"), Column("price_cent", "u4")))
KINDS = (SequenceType("views", BEHAVIOURS, ttl_s=10**6), SequenceType("orders", ORDERS, cap=50))
USERS, BIG = 12, 2**64 - 1


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["store", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def rows(seed: int, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    limits = {"item_id": 1 << 60, "category": 400, "action": 5, "scene": 3, "dwell_s": 900}
    columns = {name: rng.integers(0, limit, count) for name, limit in limits.items()}
    return rng.integers(0, USERS, count), {"time_s": 10_000 + rng.integers(0, 5000, count), **columns}


def fill(store: SeqVault) -> None:
    """Two segments of views, one of orders, and a log."""
    store.bulk_load(*rows(0, 3000))
    store.append(*rows(1, 400))
    store.append(np.array([BIG, 3], "u8"), {"time_s": [5, 6], "price_cent": [100, 7]}, sequence="orders")
    store.seal()
    store.append(*rows(2, 50))
    store.append([3], {"time_s": [7], "price_cent": [8]}, sequence="orders")


def contents(path: Path, sequence: str | None = None) -> dict[str, list[int]]:
    with SeqVault(path, schema=None, read_only=True) as store:
        batch = store.read_last(store.users(sequence), 1 << 40, sequence=sequence)
    users = np.repeat(batch.user_ids, batch.lengths)
    return {"user_id": users.tolist(), **{name: values.tolist() for name, values in batch.columns.items()}}


def flip(file: Path, byte: int) -> None:
    data = bytearray(file.read_bytes())
    data[byte] ^= 4
    file.write_bytes(bytes(data))


def block_of(path: Path, user: int) -> tuple[Path, int, int]:
    """A user's newest sealed block."""
    with SeqVault(path, schema=None, read_only=True) as store:
        return store.locate(user, 1000)[-1]
