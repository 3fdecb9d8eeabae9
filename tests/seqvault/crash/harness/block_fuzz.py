"""Blocks and log records that pass their checksum and hold nonsense, decoded at the edge of their memory.

The compiled decoders must neither read nor write a byte outside of it, and agree with their plain twins.
"""

from collections import Counter
from typing import Any

import numpy as np
from guarded import Guarded

from seqvault import BEHAVIOURS, Column, HistorySchema
from seqvault.vault.compiled.compiled_records import CompiledRecords
from seqvault.vault.compiled.scratch import Scratch
from seqvault.vault.format.block import HEAD, OWN, SHARED, decode_block_plain, encode_blocks_plain
from seqvault.vault.format.damage import OK, BlockDamage
from seqvault.vault.format.hash64 import hash64
from seqvault.vault.kernels.decode import decode_rows, verify_block, verify_shared
from seqvault.vault.kernels.streams import WORK_BYTES
from seqvault.vault.log.record import DELETE, EXPIRE, FOUND, HEAD_BYTES, ROWS, PlainRecords, Record, salt_of

WIDE = HistorySchema(
    "wide",
    1,
    (Column("time_s", "i8"), Column("a", "i1"), Column("b", "i4"), Column("c", "u8"), Column("d", "i8")),
)
EXTREMES = (0, 1, 2, 7, 8, 15, 16, 17, 63, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)


def fuzz_blocks(seed: int, count: int) -> dict[str, int]:
    """Decode so many mutated blocks; counts of what became of them."""
    rng = np.random.default_rng(seed)
    seeds = [(schema, block) for schema in (BEHAVIOURS, WIDE) for block in _blocks(schema, rng)]
    largest = max(len(block) for _, block in seeds) + 8
    memory, out = Guarded(largest), Guarded(65_536 * 8 * 8)
    work = Guarded(WORK_BYTES).at_end(WORK_BYTES)
    scratch = Scratch()
    counts: Counter[str] = Counter()
    for _ in range(count):
        schema, block = seeds[int(rng.integers(len(seeds)))]
        data = _mutated(block, rng)
        size = len(data)
        place = memory.at_end(size) if rng.random() < 0.8 else memory.at_start(size)
        place[:] = data
        counts[_decode(schema, place, out, work, scratch, rng)] += 1
    return dict(counts)


def _blocks(schema: HistorySchema, rng: np.random.Generator) -> list[np.ndarray]:
    """Blocks of all codecs and of columns from constant to random."""
    found = []
    for rows in (1, 2, 17, 300, 2000):
        for spread in (1, 4, 300, 1 << 40):
            columns = {"time_s": np.sort(rng.integers(0, 10 + spread, rows))}
            for column in schema.columns[1:]:
                limits = np.iinfo(column.dtype)
                low, high = max(limits.min, -spread), min(limits.max, spread)
                columns[column.name] = rng.integers(low, high, rows, column.dtype, endpoint=True)
            if "category" in columns:
                columns["category"] = (columns["item_id"] % 50).astype("u2")
            for codec in ("packed", "zstd"):
                data, _ = encode_blocks_plain(
                    schema,
                    np.array([7], "u8"),
                    np.array([3], "u8"),
                    np.array([0, rows]),
                    columns,
                    codec=codec,
                )
                found.append(data)
    return found


def _mutated(block: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy with some of its two-byte words changed, or cut or lengthened; its checksum is right again."""
    data = block.copy()
    if rng.random() < 0.1:
        size = max(HEAD.size, int(rng.integers(len(data))) & ~7)
        data = np.append(data[:size], np.zeros(8 * int(rng.random() < 0.3), "u1"))
        data[4:8].view("<u4")[0] = len(data)
    words = data.view("<u2")
    # Headers are small and decide most: half of the changes go to the first words of block and columns.
    for _ in range(int(rng.integers(1, 5))):
        first = int(rng.choice([20, 24, HEAD.size // 2]))
        most = min(len(words), 100) if rng.random() < 0.5 else len(words)
        if first >= most:
            continue
        at = int(rng.integers(first, most))
        words[at] = rng.choice(EXTREMES) if rng.random() < 0.6 else rng.integers(1 << 16)
    seal_block(data)
    return data


def seal_block(data: np.ndarray) -> None:
    """Make a block's checksum right."""
    data[8:16].view("<u8")[0] = hash64(data[16:], int(data[:8].view("<u8")[0]))


def _decode(
    schema: HistorySchema,
    data: np.ndarray,
    out: Guarded,
    work: np.ndarray,
    scratch: Scratch,
    rng: np.random.Generator,
) -> str:
    _, _, _, user, start, first_s, last_s, rows, *_, kind = HEAD.unpack_from(data)
    code = verify_block(data, 0, len(data), user, start, rows, first_s, last_s)
    assert (code == OK) == (kind == OWN), code
    assert (verify_shared(data, 0, len(data)) == OK) == (kind == SHARED)
    first, last = sorted(rng.integers(0, min(rows, 1 << 16) + 1, 2).tolist())
    names = rng.permutation(schema.names)[: int(rng.integers(1, len(schema.names) + 1))].tolist()
    row = int(rng.integers(0, 3))
    wanted, sizes = [], 0
    for name in names:
        width = schema.dtype(name).itemsize
        wanted.append((schema.names.index(name), width, sizes, 0))
        sizes += -(-(row + last - first) * width // 8) * 8
    target = out.at_end(sizes)
    target[:] = 0xEE
    code = decode_rows(
        data, 0, len(data), first, last, np.array(wanted, "u8"), target, row, work, scratch.context
    )
    plain = _decode_plain(schema, data, first, last, names)
    if plain is None:
        # Of no rows the kernel looks at no column.
        assert code != OK or first == last, "the kernel decodes what its twin does not"
        return f"code {code}"
    assert code == OK, f"the kernel calls {code} what its twin decodes"
    for (_, width, offset, _), name in zip(wanted, names, strict=True):
        values = target[offset + row * width : offset + (row + last - first) * width]
        assert values.tobytes() == plain[name].tobytes(), f"{name} differs from the twin's"
        assert np.all(target[offset : offset + row * width] == 0xEE), f"{name}: wrote before its rows"
    return "decoded"


def _decode_plain(
    schema: HistorySchema, data: np.ndarray, first: int, last: int, names: list[str]
) -> dict[str, np.ndarray] | None:
    try:
        return decode_block_plain(schema, data, 0, first, last, names)
    except BlockDamage:
        return None


def fuzz_records(seed: int, count: int) -> dict[str, int]:
    """Scan and read so many mutated pairs of log records; counts of what became of them."""
    rng = np.random.default_rng(seed)
    plain, compiled = PlainRecords(), CompiledRecords()
    counts: Counter[str] = Counter()
    memory = Guarded(1 << 16)
    for _ in range(count):
        data = _records(plain, rng)
        place = memory.at_end(len(data))
        place[:] = data
        found = compiled.scan(place, 0, len(place), salt_of(3))
        expected = plain.scan(place, 0, len(place), salt_of(3))
        assert np.array_equal(found, expected), "the kernel finds other records than its twin"
        counts[f"{len(found)} found"] += 1
        for i in range(len(found)):
            one = found[i : i + 1]
            if one["rows"][0] > 1 << 20:
                counts["huge"] += 1
                continue
            wanted = [(int(rng.integers(one["columns"][0])), np.dtype(rng.choice(["u1", "i2", "u4", "i8"])))]
            for a, b in zip(compiled.read(place, one, wanted), plain.read(place, one, wanted), strict=True):
                assert a.dtype == b.dtype
                assert np.array_equal(a, b), "the kernel reads other values than its twin"
    return dict(counts)


def _records(plain: PlainRecords, rng: np.random.Generator) -> np.ndarray:
    """Two records side by side, one of them changed behind its checksum's back and signed again."""
    parts = []
    for number in range(2):
        rows = int(rng.choice([1, 3, 50]))
        columns: list[Any] = [
            rng.integers(0, int(rng.choice([1, 200, 1 << 20, 1 << 62])), rows, "u8")
            for _ in range(int(rng.integers(1, 8)))
        ]
        data, size = plain.encode(columns)
        kind = int(rng.choice([ROWS, DELETE, EXPIRE]))
        head = Record(kind, rows, len(columns)).head(number + 1, number)
        plain.finish(data, size, head, salt_of(3))
        if rng.random() < 0.7:
            at = int(rng.integers(40, min(size, HEAD_BYTES + 80)))
            data[at] = rng.choice(EXTREMES) & 0xFF
            seal_record(data[:size], salt_of(3))
        parts.append(data[:size])
    return np.concatenate(parts)


def seal_record(data: np.ndarray, salt: int) -> None:
    """Make a record's checksum right."""
    words = data[:HEAD_BYTES].view("<u8")
    words[1] = hash64(data[16:], int(words[0]) ^ salt)


assert FOUND.itemsize % 8 == 0
