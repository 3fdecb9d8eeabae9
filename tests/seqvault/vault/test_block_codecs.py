"""Blocks read back what was written, compiled and plain alike, whatever the columns hold."""

import numpy as np
import pytest
from blocks import decode, encode, tables, verified
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvault import Column, HistorySchema
from seqvault.vault.compiled.scratch import Scratch
from seqvault.vault.format.block import MAX_ROWS, decode_block_plain, encode_blocks_plain, read_header
from seqvault.vault.format.damage import BAD_CALL, OK, BlockDamage
from seqvault.vault.format.hash64 import hash64
from seqvault.vault.kernels.decode import MISSING, block_schema, decode_rows, verify_block
from seqvault.vault.kernels.hash64 import hash64 as compiled_hash64

codecs = st.sampled_from(("packed", "zstd"))


@settings(max_examples=120)
@given(st.data())
def test_compiled_and_plain_blocks_are_equal_bytes(data: st.DataObject) -> None:
    schema, columns, bounds = data.draw(tables())
    more = {"codec": data.draw(codecs)}
    users = np.arange(5, 4 + len(bounds))
    plain, offsets = encode_blocks_plain(schema, users, users * 0 + 40, bounds, columns, **more)
    compiled, places = encode(schema, columns, bounds, **more)
    assert np.array_equal(offsets, places)
    assert np.array_equal(plain, compiled)


@settings(max_examples=120)
@given(st.data())
def test_any_rows_and_columns_read_back_compiled_and_plain(data: st.DataObject) -> None:
    schema, columns, bounds = data.draw(tables())
    blocks, offsets = encode(schema, columns, bounds, data.draw(codecs))
    for k in range(len(bounds) - 1):
        at, begin, rows = int(offsets[k]), int(bounds[k]), int(bounds[k + 1] - bounds[k])
        first = data.draw(st.integers(0, rows))
        last = data.draw(st.integers(first, rows))
        names = tuple(data.draw(st.lists(st.sampled_from(schema.names), min_size=1, unique=True)))
        assert verified(blocks, at) == OK
        for read in (decode, decode_block_plain):
            found = read(schema, blocks, at, first, last, names)
            for name in names:
                expected = columns[name][begin + first : begin + last]
                assert found[name].dtype == expected.dtype
                assert np.array_equal(found[name], expected), (name, read)


def test_the_largest_block_reads_back() -> None:
    schema = HistorySchema("large", 1, (Column("time_s", "i8"), Column("c", "u8"), Column("d", "u2")))
    rng = np.random.default_rng(1)
    values = rng.integers(0, 1 << 64, MAX_ROWS, "u8")
    columns = {"time_s": np.arange(MAX_ROWS) ** 2, "c": values, "d": (values >> np.uint64(50)).astype("u2")}
    for codec in ("packed", "zstd"):
        blocks, _ = encode(schema, columns, np.array([0, MAX_ROWS]), codec)
        found = decode(schema, blocks, 0, 0, MAX_ROWS, schema.names)
        assert all(np.array_equal(found[name], columns[name]) for name in schema.names)


def test_the_header_says_what_the_block_holds() -> None:
    schema = HistorySchema("small", 1, (Column("time_s", "i8"), Column("c", "i2")))
    columns = {"time_s": np.array([-4, -4, 9]), "c": np.array([1, -2, 3], "i2")}
    blocks, _ = encode(schema, columns, np.array([0, 3]), schema_id=77)
    assert read_header(blocks) == (len(blocks), 5, 40, -4, 9, 3, 77, 2, 0)
    assert block_schema(blocks, 0) == 77
    for i, wrong in enumerate((len(blocks) - 8, 6, 41, 4, -5, 8)):
        expected = [len(blocks), 5, 40, 3, -4, 9]
        assert verify_block(blocks, 0, *expected) == OK
        expected[i] = wrong
        assert verify_block(blocks, 0, *expected) != OK


def test_a_column_the_block_lacks_reads_as_its_default() -> None:
    schema = HistorySchema("old", 1, (Column("time_s", "i8"),))
    blocks, _ = encode(schema, {"time_s": np.arange(5)}, np.array([0, 5]))
    out, scratch = np.zeros(8, "u1"), Scratch()
    wanted = np.array([[MISSING, 2, 0, -7 % (1 << 64)]], "u8")
    assert decode_rows(blocks, 0, len(blocks), 1, 5, wanted, out, 0, scratch.work, scratch.context) == OK
    assert out.view("i2").tolist() == [-7] * 4


@pytest.mark.parametrize(("first", "last"), [(0, 4), (4, 4), (2, 1)])
def test_rows_a_block_lacks_are_refused(first: int, last: int) -> None:
    schema = HistorySchema("small", 1, (Column("time_s", "i8"),))
    blocks, _ = encode(schema, {"time_s": np.arange(3)}, np.array([0, 3]))
    out, scratch = np.zeros(800, "u1"), Scratch()
    wanted = np.array([[0, 8, 0, 0]], "u8")
    code = decode_rows(blocks, 0, len(blocks), first, last, wanted, out, 0, scratch.work, scratch.context)
    assert code == BAD_CALL
    with pytest.raises(BlockDamage) as caught:
        decode_block_plain(schema, blocks, 0, first, last, ("time_s",))
    assert caught.value.code == BAD_CALL


@pytest.mark.parametrize("wanted", [(0, 8, 8, 0), (0, 8, 1, 0), (0, 3, 0, 0), (0, 8, 1 << 63, 0)])
def test_an_output_without_room_is_refused(wanted: tuple[int, ...]) -> None:
    schema = HistorySchema("small", 1, (Column("time_s", "i8"),))
    blocks, _ = encode(schema, {"time_s": np.arange(3)}, np.array([0, 3]))
    out, scratch = np.zeros(24, "u1"), Scratch()
    columns = np.array([wanted], "u8")
    code = decode_rows(blocks, 0, len(blocks), 0, 3, columns, out, 0, scratch.work, scratch.context)
    assert code == BAD_CALL
    assert not out.any()


def test_a_category_costs_nothing_where_items_determine_it() -> None:
    schema = HistorySchema(
        "shop", 1, (Column("time_s", "i8"), Column("item", "u4"), Column("category", "u2"))
    )
    rng = np.random.default_rng(3)
    category_of = rng.integers(0, 60_000, 100).astype("u2")
    item = rng.integers(0, 100, 4096).astype("u4")
    columns = {"time_s": np.arange(4096), "item": item, "category": category_of[item]}
    blocks, _ = encode(schema, columns, np.array([0, 4096]))
    alone = HistorySchema("shop", 1, schema.columns[:2])
    without, _ = encode(alone, columns, np.array([0, 4096]))
    assert len(blocks) - len(without) < 300


@given(st.binary(max_size=100), st.integers(0, 2**64 - 1))
def test_hashes_are_equal_compiled_and_plain(data: bytes, seed: int) -> None:
    assert hash64(data, seed) == compiled_hash64(data, seed)


@pytest.mark.parametrize("bits", [15, 16, 31, 57, 62, 63, 64])
def test_a_byte_plane_never_reaches_beyond_the_values(bits: int) -> None:
    """Values skewed in their highest bits, so that a plane as high as possible pays."""
    schema = HistorySchema("wide", 1, (Column("time_s", "i8"), Column("c", "u8", codec="frame")))
    for power in (2, 4, 8):
        shares = np.random.default_rng([bits, power]).random(700) ** power
        shares[0] = 0.0  # so that the frame's base is 0
        columns = {"time_s": np.arange(700), "c": (shares * ((1 << bits) - 2048 * (bits > 53))).astype("u8")}
        blocks, _ = encode(schema, columns, np.array([0, 700]), "zstd")
        for read in (decode, decode_block_plain):
            assert np.array_equal(read(schema, blocks, 0, 0, 700, ("c",))["c"], columns["c"]), power
