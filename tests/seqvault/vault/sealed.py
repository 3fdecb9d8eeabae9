"""A history store without files but one: blocks, index, tails and reader as a test puts them together."""

import os
from pathlib import Path

import numpy as np

from seqvault.query import Query
from seqvault.schema import BEHAVIOURS, HistorySchema
from seqvault.select import by_user, in_order
from seqvault.store import HistoryBatch
from seqvault.vault.format.block import encode_blocks_plain
from seqvault.vault.format.entries import ENTRY
from seqvault.vault.reading.locks import ReadersWriterLock
from seqvault.vault.reading.read import engine


class Sealed:
    """Rows go to the tails; `seal` moves them into blocks of a file in slot 0, late ones included."""

    def __init__(
        self, path: Path, *, plain: bool = False, schema: HistorySchema = BEHAVIOURS, direct: bool = False
    ) -> None:
        self.schema = schema
        self.path = path
        self.lock = ReadersWriterLock(plain=plain)
        self.index, self.tails, self.reader = engine(schema, self.lock, plain=plain, direct=direct)
        path.touch()
        flags = os.O_RDONLY | (os.O_DIRECT if direct else 0)
        self.fd = os.open(path, flags)
        self.reader.add(0, self.fd, path)

    def add(self, users, columns) -> None:
        """Into the tails."""
        users, columns = self.schema.check(users, columns)
        with self.lock.exclusive():
            self.tails.add(users, columns)

    def seal(self, block_rows: int = 8) -> None:
        """The tails into blocks, with the sealed rows from the first late one's block on."""
        users, bounds, columns = self.tails.drain()
        for i, user in enumerate(users.tolist()):
            new = {name: values[bounds[i] : bounds[i + 1]] for name, values in columns.items()}
            blocks = self.index.blocks_of(user)
            kept = int(np.count_nonzero(blocks["last_s"] <= new["time_s"][0]))
            start = int(blocks["start"][kept - 1] + blocks["rows"][kept - 1]) if kept else 0
            if kept < len(blocks):
                old = self.sealed(user)
                skip = int(blocks["rows"][:kept].sum())
                new = in_order({name: np.concatenate((old[name][skip:], new[name])) for name in new})
            self._write(user, start, new, block_rows)
        with self.lock.exclusive():
            self.tails.clear()

    def load(self, users, columns, block_rows: int) -> None:
        """Straight into blocks, for users who have none."""
        users, columns = self.schema.check(users, columns)
        order, distinct, bounds = by_user(users)
        for i, user in enumerate(distinct.tolist()):
            rows = order[bounds[i] : bounds[i + 1]]
            of_user = in_order({name: values[rows] for name, values in columns.items()})
            self._write(user, 0, of_user, block_rows)

    def sealed(self, user: int) -> dict[str, np.ndarray]:
        """One user's sealed rows."""
        tails, self.reader.tails = self.reader.tails, engine(self.schema, self.lock, plain=self.plain)[1]
        batch = self.reader.read(Query.last(self.schema, [user], 10**9))
        self.reader.tails = tails
        return batch.of(0)

    @property
    def plain(self) -> bool:
        """Whether numpy alone serves it."""
        return type(self.index).__name__ == "PlainIndex"

    def read_last(self, users, n, **conditions) -> HistoryBatch:
        """As HistoryStore.read_last."""
        return self.reader.read(Query.last(self.schema, users, n, **conditions))

    def read_range(self, users, start_s, end_s, **conditions) -> HistoryBatch:
        """As HistoryStore.read_range."""
        return self.reader.read(Query.between(self.schema, users, start_s, end_s, **conditions))

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    def _write(self, user: int, start: int, columns, block_rows: int) -> None:
        rows = len(columns["time_s"])
        edges = np.array([*range(0, rows, block_rows), rows])
        count = len(edges) - 1
        users = np.full(count, user, "u8")
        data, offsets = encode_blocks_plain(
            self.schema, users, start + edges[:-1].astype("u8"), edges, columns
        )
        entries = np.zeros(count, ENTRY)
        entries["user"], entries["start"], entries["rows"] = user, start + edges[:-1], np.diff(edges)
        entries["first_s"], entries["last_s"] = (
            columns["time_s"][edges[:-1]],
            columns["time_s"][edges[1:] - 1],
        )
        entries["offset"], entries["size"] = self.path.stat().st_size + offsets[:-1], np.diff(offsets)
        with self.path.open("ab") as file:
            file.write(data.tobytes())
        with self.lock.exclusive():
            self.index.apply(0, entries)
