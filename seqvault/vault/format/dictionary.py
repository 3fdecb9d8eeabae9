"""Dictionaries: what the blocks of a store have in common, kept once in a file beside them.

A dictionary holds trained zstd dictionaries, one for each kind of stream, which make compressed blocks of a
few hundred rows smaller and faster to read; or a table of the store's items (items.py); or both. A block
names the dictionary it was written with.

     0      4         8      16      24   28       32        36    40          44      46      48      56
    +------+---------+------+-------+----+--------+---------+-----+-----------+-------+-------+-------+- - - -
    | SVD1 | version | hash | bytes | id | schema | trained | key | attribute | dtypes        | items | parts
    |      | u32     | u64  | u64   | u32| u32    | u32     | i32 | i32       | 2 + 2 letters | u64   |
    +------+---------+------+-------+----+--------+---------+-----+-----------+-------+-------+-------+- - - -

`hash` is hash64 of bytes 16 to the end. A part is a u32 length and as many bytes: first the trained
dictionaries by kind; then, if there are items, in parts of up to 65,536 values: the groups' attributes, the
groups' sizes, and the items as differences within their group, each part a column section (codec.py).
"""

import struct
from dataclasses import dataclass

import numpy as np

from seqvault.schema import Array
from seqvault.vault.format.codec import Source, best, read_column, section
from seqvault.vault.format.damage import BAD_COLUMN, BAD_HASH, BAD_MAGIC, BAD_SIZE, BlockDamage
from seqvault.vault.format.hash64 import hash64
from seqvault.vault.format.items import ItemTable, words_of
from seqvault.vault.format.words import Words

__all__ = ["TRAINED_ROWS", "Dictionary"]

# Blocks of fewer rows are compressed with trained dictionaries: larger ones are no smaller for them.
TRAINED_ROWS = 1024

_MAGIC, _VERSION = b"SVD1", 1
_HEAD = struct.Struct("<4sIQQIIIii2s2sQ")
_PART_ROWS = 1 << 16
_DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


@dataclass(frozen=True, eq=False)
class Dictionary:
    """What blocks of one schema refer to.

    Args:
        id: its number, 1 or more, which no other dictionary of the store has had.
        schema_id: the schema of the blocks it serves.
        trained: a zstd dictionary for each kind of stream, b"" for none.
        items: the store's items, or None.
    """

    id: int
    schema_id: int
    trained: tuple[bytes, ...] = ()
    items: ItemTable | None = None

    def to_bytes(self) -> bytes:
        """The dictionary as a file; `from_bytes` reads it back."""
        parts = list(self.trained)
        key, attribute, key_dtype, attribute_dtype, count = -1, -1, b"u8", b"u8", 0
        if self.items is not None:
            key, attribute, count = self.items.key, self.items.attribute, len(self.items.values)
            key_dtype = self.items.values.dtype.str[1:].encode()
            attribute_dtype = self.items.attributes.dtype.str[1:].encode()
            names, bounds = self.items.groups()
            parts += [*_pack(names), *_pack(np.diff(bounds).astype("u8")), *_pack(_differences(self.items))]
        body = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        fields = (
            self.id,
            self.schema_id,
            len(self.trained),
            key,
            attribute,
            key_dtype,
            attribute_dtype,
            count,
        )
        size = _HEAD.size + len(body)
        body = _HEAD.pack(b"", 0, 0, size, *fields)[16:] + body
        return _MAGIC + struct.pack("<IQ", _VERSION, hash64(body)) + body

    @classmethod
    def from_bytes(cls, data: bytes) -> "Dictionary":
        """The dictionary of a file. Raises BlockDamage when the bytes are not what was written."""
        if len(data) < _HEAD.size:
            raise BlockDamage(BAD_SIZE)
        magic, version, found, size, *fields = _HEAD.unpack_from(data)
        if (magic, version) != (_MAGIC, _VERSION):
            raise BlockDamage(BAD_MAGIC)
        if size != len(data):
            raise BlockDamage(BAD_SIZE)
        if hash64(data[16:]) != found:
            raise BlockDamage(BAD_HASH)
        number, schema_id, trained, key, attribute, key_dtype, attribute_dtype, count = fields
        parts = _Parts(data, _HEAD.size)
        dictionaries = tuple(parts.take() for _ in range(trained))
        items = None
        if key >= 0:
            dtypes = (key_dtype.decode(), attribute_dtype.decode())
            items = _read_items(parts, key, attribute, dtypes, count)
        return cls(number, schema_id, dictionaries, items)


class _Parts:
    """A cursor over length-prefixed parts."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self) -> bytes:
        """The next part. Raises BlockDamage at the end."""
        begin = self._at + 4
        if begin > len(self._data):
            raise BlockDamage(BAD_COLUMN)
        end = begin + int(struct.unpack_from("<I", self._data, self._at)[0])
        if end > len(self._data):
            raise BlockDamage(BAD_COLUMN)
        self._at = end
        return self._data[begin:end]

    def values(self) -> Array:
        """The next values, as written by _pack, u8."""
        counted = self.take()
        if len(counted) != 8:
            raise BlockDamage(BAD_COLUMN)
        count = int.from_bytes(counted, "little")
        parts = []
        for begin in range(0, count, _PART_ROWS):
            rows = min(_PART_ROWS, count - begin)
            words = Words(np.frombuffer(self.take(), "<u2"))
            parts.append(read_column(words, 0, (rows, 0, rows), Source()))
        return np.concatenate([np.empty(0, "u8"), *parts])


def _pack(values: Array) -> list[bytes]:
    """A count, then the values in parts."""
    parts = []
    for begin in range(0, len(values), _PART_ROWS):
        found = best(values[begin : begin + _PART_ROWS], False, "frame", False)
        parts.append(section(found, 1, 0, None).tobytes())
    return [struct.pack("<Q", len(values)), *parts]


def _differences(items: ItemTable) -> Array:
    """Each item less the one before it in its group; the first of a group in full."""
    values = words_of(items.values)
    differences = np.diff(values, prepend=np.zeros(1, "u8"))
    firsts = items.groups()[1][:-1]
    differences[firsts] = values[firsts]
    return differences


def _read_items(parts: _Parts, key: int, attribute: int, dtypes: tuple[str, str], count: int) -> ItemTable:
    if dtypes[0] not in _DTYPES or dtypes[1] not in _DTYPES:
        raise BlockDamage(BAD_COLUMN)
    names = parts.values()
    sizes = parts.values().astype("i8")
    differences = parts.values()
    if len(names) != len(sizes) or (sizes < 1).any() or sizes.sum() != count or len(differences) != count:
        raise BlockDamage(BAD_COLUMN)
    sums = np.cumsum(differences)
    firsts = np.cumsum(sizes) - sizes
    # What was summed before a group began is no part of its items.
    values = sums - np.repeat(sums[firsts] - differences[firsts], sizes)
    return ItemTable(key, attribute, values.astype(dtypes[0]), np.repeat(names, sizes).astype(dtypes[1]))
