"""A store with every kind of file and record in it, what it must answer, and what it answered once before.

Written by one thread with sync appends, so that only the log's last record may be taken for a torn one.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dict_model import DictModel, difference
from streams import ALL, SCHEMAS, Append, Stream
from vaults import open_vault

from seqvault import HistoryBatch

STREAMS = (Stream(1), Stream(2, most_rows=60), Stream(4, batch_ids=True), Stream(5, sequence="impressions"))
EVERYONE = {
    name: np.concatenate([stream.users for stream in STREAMS if stream.sequence == name]) for name in SCHEMAS
}
CODECS = ("packed", "zstd")


@dataclass
class Specimen:
    """A store's folder and its answers, by sequence; `before` is without its last operation.

    A closed store says in its log that all of it was durable. In the folder of a killed one the last record
    may be taken for a torn write: that is what `before` is for.
    """

    folder: Path
    options: dict[str, Any]
    expected: dict[str, HistoryBatch]
    before: dict[str, HistoryBatch] | None

    def open(self, folder: Path | None = None, **options: Any) -> Any:
        return open_vault(folder or self.folder, **{**self.options, **options})


def make_specimen(
    folder: Path, codec: str, *, killed: bool = False, operations: int = 160, seed: int = 0
) -> Specimen:
    """Several segments, a compacted one among them, tombstones, and a tail in the log.

    Args:
        killed: as the files are while the store is open, instead of after its close.
    """
    options = {"codec": codec, "block_rows": 32}
    model = DictModel(SCHEMAS)
    rng = np.random.default_rng(seed)
    numbers = [0] * len(STREAMS)
    before: dict[str, HistoryBatch] = {}
    with open_vault(folder, **options) as store:
        for step in range(operations):
            turn = int(rng.integers(len(STREAMS)))
            operation = STREAMS[turn].operation(numbers[turn])
            if step == operations - 1:
                operation = Append(*_last_rows())
                before = answers(model)
            numbers[turn] += 1
            operation.run(store)
            operation.run(model)
            if step == operations // 2:
                store.compact(full=True)
            elif step % 30 == 20:
                store.seal()
        if killed:
            shutil.copytree(folder, folder.with_name("killed"))
    if killed:
        shutil.rmtree(folder)
        folder.with_name("killed").rename(folder)
    return Specimen(folder, options, answers(model), before if killed else None)


def _last_rows() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    stream = Stream(1)
    operation = next(op for op in map(stream.operation, range(50_000, 50_100)) if isinstance(op, Append))
    return operation.user_ids, dict(operation.columns)


def answers(target: Any) -> dict[str, HistoryBatch]:
    """Everything, by sequence."""
    return {name: target.read_last(users, ALL, sequence=name) for name, users in EVERYONE.items()}


def unequal(found: dict[str, HistoryBatch], expected: dict[str, HistoryBatch]) -> str | None:
    """The first difference in words; None when there is none."""
    for name, batch in expected.items():
        words = difference(found[name], batch)
        if words is not None:
            return f"{name}: {words}"
    return None
