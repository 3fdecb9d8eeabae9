"""A damaged block is never decoded; one that is damaged and signed again never harms."""

import numpy as np
import pytest
from blocks import decode, encode, tables, verified
from hypothesis import given, settings
from hypothesis import strategies as st

from seqvault import Column, HistorySchema
from seqvault.vault.format.block import decode_block_plain, read_header
from seqvault.vault.format.damage import BAD_HASH, BAD_MAGIC, BAD_SIZE, OK, BlockDamage, damage
from seqvault.vault.format.hash64 import hash64

SCHEMA = HistorySchema("small", 1, (Column("time_s", "i8"), Column("c", "u2")))


def small_block(codec: str = "packed") -> np.ndarray:
    rng = np.random.default_rng(2)
    columns = {"time_s": np.cumsum(rng.integers(0, 300, 200)), "c": rng.integers(0, 40, 200).astype("u2")}
    return encode(SCHEMA, columns, np.array([0, 200]), codec)[0]


@pytest.mark.parametrize("codec", ["packed", "zstd"])
def test_every_flipped_bit_is_detected(codec: str) -> None:
    block = small_block(codec)
    for bit in range(8 * len(block)):
        block[bit // 8] ^= 1 << bit % 8
        assert verified(block) != OK
        if bit % 61 == 0:
            with pytest.raises(BlockDamage):
                read_header(block)
        block[bit // 8] ^= 1 << bit % 8
    assert verified(block) == OK


@given(st.data())
def test_torn_sectors_are_detected(data: st.DataObject) -> None:
    block = small_block()
    at = data.draw(st.integers(0, len(block) - 8))
    size = data.draw(st.integers(1, 512))
    torn = block.copy()
    torn[at : at + size] = data.draw(st.integers(0, 255))
    assert verified(torn) != OK or np.array_equal(torn, block)


def test_a_block_says_what_is_wrong_with_it() -> None:
    for at, code in ((0, BAD_MAGIC), (6, BAD_SIZE), (9, BAD_HASH), (30, BAD_HASH), (-1, BAD_HASH)):
        block = small_block()
        block[at] ^= 8
        with pytest.raises(BlockDamage, match=damage(code)) as caught:
            read_header(block)
        assert caught.value.code == code


@settings(max_examples=150)
@given(st.data())
def test_signed_nonsense_decodes_alike_or_not_at_all(data: st.DataObject) -> None:
    schema, columns, bounds = data.draw(tables())
    codec = data.draw(st.sampled_from(("packed", "zstd")))
    blocks, offsets = encode(schema, columns, bounds, codec)
    block = blocks[: offsets[1]].copy()
    words = block.view("<u2")
    for _ in range(data.draw(st.integers(1, 4))):
        # Heads decide most: from the row count on, nearly half of the changes hit the first hundred words.
        last = len(words) - 1 if data.draw(st.booleans()) else min(100, len(words) - 1)
        words[data.draw(st.integers(24, last))] = data.draw(st.sampled_from((0, 1, 64, 255, 256, 65535)))
    block[8:16].view("<u8")[0] = hash64(block[16:], int(block[:8].view("<u8")[0]))
    rows = int(min(read_header(block).rows, 1 << 16))
    first = data.draw(st.integers(0, rows))
    last = data.draw(st.integers(first, rows))
    outcomes = []
    for read in (decode, decode_block_plain):
        try:
            found = read(schema, block, 0, first, last, schema.names)
            outcomes.append([found[name].tobytes() for name in schema.names])
        except BlockDamage:
            outcomes.append(None)
    # Of no rows the kernel looks at no column.
    assert outcomes[0] == outcomes[1] or first == last
