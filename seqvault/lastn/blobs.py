"""Layout "blobs": a user's whole history under one key.

    key             value
    +-------------+ +----------------------------------------+
    | user u64 BE | | all rows, packed records, oldest first |
    +-------------+ +----------------------------------------+

One MultiGet reads any number of users, but always all of their rows, and an append rewrites them: at home
with short histories that change little."""

import struct
import time
from itertools import islice

import numpy as np
from rocksdict import WriteBatch

from seqvault.errors import DamagedDataError
from seqvault.lastn.charge import BindingCost, Meter, calibrate_gets
from seqvault.lastn.choice import chosen, filters
from seqvault.lastn.database import Database
from seqvault.query import Query
from seqvault.rows import row_dtype, sorted_rows
from seqvault.schema import Array, HistorySchema

__all__ = ["BlobLayout"]

_KEY = struct.Struct(">Q")
# Users among whom calibration looks for a short and a long value.
_CALIBRATED = 64


class BlobLayout:
    """Reads and writes one database in the layout drawn above."""

    def __init__(self, database: Database, schema: HistorySchema) -> None:
        self._database = database
        self._rows = row_dtype(schema)

    def write(self, batch: WriteBatch, users: list[int], histories: list[Array]) -> None:
        """Add each user's new rows, in any order of times, to the stored ones."""
        for user, old, new in zip(users, self._fetch(users, Meter()), histories, strict=True):
            rows = sorted_rows(np.concatenate((old, new)) if len(old) else new)
            batch.put(_KEY.pack(user), rows.tobytes())

    def read(self, query: Query, meter: Meter) -> list[Array]:
        """The rows that a query wants of each user, oldest first."""
        fetched = self._fetch(query.users.tolist(), meter)
        wanted = [chosen(rows, query, i) for i, rows in enumerate(fetched)]
        # A filter looks at every row; without one a client copies what it returns.
        meter.rows += sum(map(len, fetched if filters(query) else wanted))
        return wanted

    def calibrate(self) -> BindingCost:
        """The binding's share of a call, a value and its bytes, measured on the first users stored."""
        sizes = {key: len(value) for key, value in islice(self._database.items(), _CALIBRATED)}
        by_size = sorted(sizes, key=sizes.__getitem__)
        return calibrate_gets(self._database, by_size, [sizes[key] for key in by_size])

    def counts(self) -> tuple[int, int]:
        """(users, behaviours), by reading everything."""
        lengths = [len(value) for _, value in self._database.items()]
        return len(lengths), sum(lengths) // self._rows.itemsize

    def _fetch(self, users: list[int], meter: Meter) -> list[Array]:
        keys = [_KEY.pack(user) for user in users]
        start = time.perf_counter()
        values = self._database.multi_get(keys)
        meter.native(start, len(keys), sum(len(value) for value in values if value is not None))
        fetched = []
        for user, value in zip(users, values, strict=True):
            try:
                fetched.append(np.frombuffer(value or b"", self._rows))
            except ValueError as error:
                raise DamagedDataError(
                    f"{self._database.path}: the blob of user {user} is cut ({error}): restore the store "
                    "from backup"
                ) from error
        return fetched
