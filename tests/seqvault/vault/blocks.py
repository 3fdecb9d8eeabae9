"""Columns of every kind for tests of blocks, and the compiled calls behind one signature."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from seqvault import Column, HistorySchema
from seqvault.vault.compiled.encode import encode_blocks
from seqvault.vault.compiled.scratch import Scratch
from seqvault.vault.format.block import read_header
from seqvault.vault.format.damage import OK, BlockDamage
from seqvault.vault.kernels.decode import MISSING, decode_rows, verify_block

DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
PATTERNS = ("constant", "narrow", "wide", "sorted", "repeated", "outliers", "follows")
Array = Any


def column(pattern: str, dtype: str, rows: int, follows: Array, rng: np.random.Generator) -> Array:
    """(rows,) values of a dtype; `follows` is what a column that follows from another follows from."""
    limits = np.iinfo(dtype)
    low, high = int(limits.min), int(limits.max)
    start = int(rng.integers(low, high, dtype=dtype, endpoint=True))
    if pattern == "constant":
        return np.full(rows, start, dtype)
    if pattern == "narrow":
        span = min(high - start, int(rng.integers(1, 300)))
        return (start + rng.integers(0, span, rows, endpoint=True).astype(object)).astype(dtype)
    if pattern == "sorted":
        return np.sort(rng.integers(low, high, rows, dtype=dtype, endpoint=True))
    if pattern == "repeated":
        return rng.choice(rng.integers(low, high, max(1, rows // 4), dtype=dtype, endpoint=True), rows)
    values = rng.integers(low, high, rows, dtype=dtype, endpoint=True)
    if pattern == "outliers":
        return np.where(rng.random(rows) < 0.03, values, np.array(start, dtype))
    if pattern == "follows":
        table = rng.integers(low, high, 97, dtype=dtype, endpoint=True)
        followed = table[follows.astype("u8") % np.uint64(97)]
        return np.where(rng.random(rows) < 0.02, values, followed)
    return values


@st.composite
def tables(draw: st.DrawFn) -> tuple[HistorySchema, dict[str, Array], Array]:
    """A schema, columns of a few blocks, and the blocks' bounds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.sampled_from((1, 2, 15, 16, 17, 100, 255, 700, 1500)), min_size=1, max_size=3))
    bounds = np.cumsum([0, *sizes])
    rows = int(bounds[-1])
    steps = rng.integers(0, draw(st.sampled_from((1, 2, 200, 10**6, 2**50))), rows, endpoint=True)
    values = {"time_s": np.cumsum(steps) - draw(st.sampled_from((0, 10**9, 2**61)))}
    columns = [Column("time_s", "i8", codec=draw(st.sampled_from(("auto", "delta", "frame", "dict"))))]
    for i in range(draw(st.integers(0, 4))):
        dtype, pattern = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(PATTERNS))
        hint = draw(st.sampled_from(("auto", "auto", "auto", "delta", "frame", "dict")))
        columns.append(Column(f"c{i}", dtype, codec=hint))
        values[f"c{i}"] = column(pattern, dtype, rows, values[columns[-2].name], rng)
    return HistorySchema("test", 1, tuple(columns)), values, bounds


def encode(
    schema: HistorySchema, columns: dict[str, Array], bounds: Array, codec: str = "packed", **more: Any
) -> tuple[Array, Array]:
    """The blocks, compiled, of users 5, 6, ... from rank 40 on."""
    users = np.arange(5, 4 + len(bounds))
    return encode_blocks(schema, users, users * 0 + 40, bounds, columns, codec=codec, **more)


def verified(data: Array, at: int = 0) -> int:
    """The code of a block that must be what its own header says."""
    head = np.frombuffer(data[at : at + 64].tobytes(), "<u8")
    size, rows = int(head[0] >> np.uint64(32)), int(head[6] & np.uint64(0xFFFFFFFF))
    first_s, last_s = (int(word) for word in head[4:6].view("i8"))
    return int(verify_block(data, at, size, int(head[2]), int(head[3]), rows, first_s, last_s))


def decode(
    schema: HistorySchema,
    data: Array,
    at: int,
    first: int,
    last: int,
    names: tuple[str, ...],
) -> dict[str, Array]:
    """The twin of decode_block_plain, compiled; it also checks that nothing around the output is written."""
    size = read_header(data, at).size
    ends, wanted, rows = 64, [], 3 + last - first
    for name in names:
        width = schema.dtype(name).itemsize
        position = schema.names.index(name) if name in schema.names else MISSING
        wanted.append((position, width, ends, 0))
        ends += -(-rows * width // 64) * 64 + 64
    out = np.full(ends, 0xA5, "u1")
    scratch = Scratch()
    code = decode_rows(
        data, at, size, first, last, np.array(wanted, "u8"), out, 3, scratch.work, scratch.context
    )
    found, untouched = {}, np.ones(ends, "?")
    for name, (_, width, begin, _) in zip(names, wanted, strict=True):
        inside = slice(begin + 3 * width, begin + rows * width)
        found[name] = out[inside].view(schema.dtype(name)).copy()
        untouched[inside] = False
    assert (out[untouched] == 0xA5).all()
    if code != OK:
        raise BlockDamage(int(code))
    return found


__all__ = ["column", "decode", "encode", "tables", "verified"]
