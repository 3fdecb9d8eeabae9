"""A record of the log: rows, or what else changes a store, as byte-wide frames under one checksum.

     0      4      8      16         24        32      40     44       48     49      50      52        54
    +------+------+------+----------+---------+-------+------+--------+------+-------+-------+---------+----+
    | SVR2 | size | hash | sequence | durable | batch | rows | schema | kind | flags | table | columns | 0  |
    | u32  | u32  | u64  | u64      | u64     | u64   | u32  | u32    | u8   | u8    | u16   | u16     |    |
    +------+------+------+----------+---------+-------+------+--------+------+-------+-------+---------+----+
    | widths: columns x u8, zeros to 8 | bases: columns x u64 | columns: rows x width bytes | >= 8 zeros |

A value is its column's base plus its frame, modulo 2**64; widths are 0 to 8 bytes, the size a multiple of 8.
`hash` is the hash64 of the bytes from 16 on, seeded with the first eight and with the log's number and
identity: a record of a log that lay in the same place before never passes for one of this. `durable` is the
last sequence number that was known to be durable when the record was written; replay.py says what it is for.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from seqvault.schema import Array
from seqvault.vault.format.hash64 import hash64

__all__ = [
    "BATCHES",
    "DELETE",
    "EXPIRE",
    "FOUND",
    "HAS_BATCH",
    "HEAD_BYTES",
    "MAGIC",
    "MARK",
    "MAX_BYTES",
    "MAX_ROWS",
    "ROWS",
    "PlainRecords",
    "Record",
    "Records",
    "room",
    "salt_of",
]

ROWS, DELETE, EXPIRE, BATCHES, MARK = 1, 2, 3, 4, 5
HAS_BATCH = 1
HEAD_BYTES = 56
MAX_BYTES = 1 << 30
# Frames of no width take no bytes: without a bound a few of them could ask for all memory.
MAX_ROWS = 1 << 26
MAGIC = b"SVR2"

_MAGIC = int.from_bytes(MAGIC, "little")
# One for the users, 64 of a schema.
_MOST_COLUMNS = 65
_SALT = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
# A valid record as a scan lists it: where it is, and its head without the checksum.
FOUND = np.dtype(
    [
        ("place", "<u8"),
        ("magic", "<u4"),
        ("size", "<u4"),
        ("sequence", "<u8"),
        ("durable", "<u8"),
        ("batch", "<u8"),
        ("rows", "<u4"),
        ("schema", "<u4"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("table", "<u2"),
        ("columns", "<u2"),
        ("zero", "<u2"),
    ]
)


class Record(NamedTuple):
    """What a record says besides its columns."""

    kind: int
    rows: int
    columns: int
    table: int = 0
    schema: int = 0
    batch: int | None = None

    def head(self, sequence: int, durable: int) -> Array:
        """(5,) u8: the words of the head behind the checksum."""
        flags = 0 if self.batch is None else HAS_BATCH
        kinds = self.kind | flags << 8 | self.table << 16 | self.columns << 32
        return np.array([sequence, durable, self.batch or 0, self.rows | self.schema << 32, kinds], "u8")


class Records(Protocol):
    """Makes and reads records; compiled, or plain with the same bytes."""

    def encode(self, columns: Sequence[Array]) -> tuple[Array, int]:
        """(bytes, size) of a record without its head: columns of equal length, at least one value each."""
        ...

    def finish(self, data: Array, size: int, head: Array, salt: int) -> None:
        """Write the head and the checksum of what `encode` made."""
        ...

    def scan(self, data: Array, at: int, end: int, salt: int) -> Array:
        """FOUND of the valid records from byte `at` on, side by side, up to the first that fails."""
        ...

    def read(
        self, data: Array, found: Array, wanted: Sequence[tuple[int, np.dtype[np.generic]]]
    ) -> list[Array]:
        """Columns, by place and dtype, of records that `scan` found, one record behind the other."""
        ...


def salt_of(number: int, file_id: int = 0) -> int:
    """What the checksums in a log of this number and identity are seeded with."""
    return ((number * _SALT) & _WORD) ^ file_id


def room(columns: Sequence[Array]) -> int:
    """Bytes a record takes at most, and 8 more that a writer may touch."""
    return HEAD_BYTES + 32 + 9 * len(columns) + sum(values.nbytes for values in columns)


class PlainRecords:
    """Records in numpy alone."""

    def encode(self, columns: Sequence[Array]) -> tuple[Array, int]:
        """See Records.encode."""
        widths, bases, frames = bytearray(), [], []
        for values in columns:
            base = int(values.min())
            width = (int(values.max()) - base).bit_length() + 7 >> 3
            wide = values.astype("i8").view("u8") if values.dtype.kind == "i" else values.astype("u8")
            offsets = (wide - np.uint64(base & _WORD)).astype("<u8")
            widths.append(width)
            bases.append(base & _WORD)
            frames.append(offsets.view("u1").reshape(-1, 8)[:, :width].tobytes())
        body = bytes(widths).ljust(-(-len(columns) // 8) * 8, b"\0")
        body += np.array(bases, "<u8").tobytes() + b"".join(frames)
        size = (HEAD_BYTES + len(body) + 15) & ~7
        data = np.zeros(size, "u1")
        data[HEAD_BYTES : HEAD_BYTES + len(body)] = np.frombuffer(body, "u1")
        return data, size

    def finish(self, data: Array, size: int, head: Array, salt: int) -> None:
        """See Records.finish."""
        words = data[:HEAD_BYTES].view("<u8")
        words[0] = _MAGIC | size << 32
        words[2:] = head
        words[1] = hash64(data[16:size], int(words[0]) ^ salt)

    def scan(self, data: Array, at: int, end: int, salt: int) -> Array:
        """See Records.scan."""
        heads = []
        while at + HEAD_BYTES <= end:
            words = data[at : at + HEAD_BYTES].view("<u8")
            head = np.concatenate(([np.uint64(at)], words[:1], words[2:])).view(FOUND)[0]
            size = int(head["size"])
            if head["magic"] != _MAGIC or not HEAD_BYTES <= size <= end - at or size % 8:
                break
            if hash64(data[at + 16 : at + size], int(words[0]) ^ salt) != int(words[1]):
                break
            if not _fits(data, at, head):
                break
            heads.append(head)
            at += size
        return np.array(heads, FOUND)

    def read(
        self, data: Array, found: Array, wanted: Sequence[tuple[int, np.dtype[np.generic]]]
    ) -> list[Array]:
        """See Records.read."""
        columns: list[list[Array]] = [[] for _ in wanted]
        for record in found:
            at, rows, count = int(record["place"]) + HEAD_BYTES, int(record["rows"]), int(record["columns"])
            widths = data[at : at + count].astype("i8")
            at += -(-count // 8) * 8
            bases = data[at : at + 8 * count].view("<u8")
            starts = at + 8 * count + np.concatenate(([0], np.cumsum(widths * rows)))
            for pieces, (place, dtype) in zip(columns, wanted, strict=True):
                wide = np.zeros((rows, 8), "u1")
                frame = data[starts[place] : starts[place + 1]]
                wide[:, : widths[place]] = frame.reshape(rows, widths[place])
                pieces.append((wide.view("<u8")[:, 0] + bases[place]).astype(dtype))
        return [
            np.concatenate(pieces) if pieces else np.empty(0, dtype)
            for pieces, (_, dtype) in zip(columns, wanted, strict=True)
        ]


def _fits(data: Array, at: int, head: Array) -> bool:
    """Whether a record's columns end within it."""
    rows, count = int(head["rows"]), int(head["columns"])
    if not 1 <= count <= _MOST_COLUMNS or not 1 <= rows <= MAX_ROWS:
        return False
    fixed = HEAD_BYTES + -(-count // 8) * 8 + 8 * count + 8
    if fixed > head["size"]:
        return False
    widths = data[at + HEAD_BYTES : at + HEAD_BYTES + count].astype("i8")
    return int(widths.max()) <= 8 and fixed + int(widths.sum()) * rows <= int(head["size"])
