"""Column codecs give back what they were given, from any row on, in few bytes."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from seqvault.vault.format1_codec import DELTA, DICT, FRAME, SLACK_BYTES, decode, encode

DTYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


@st.composite
def integers(draw: st.DrawFn):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    limits = np.iinfo(dtype.str)
    low = draw(st.integers(limits.min, limits.max))
    high = draw(
        st.integers(low, min(limits.max, low + draw(st.sampled_from((0, 1, 3, 15, 255, 70_000, 2**64)))))
    )
    return np.array(draw(st.lists(st.integers(low, high), min_size=1, max_size=60)), dtype)


@settings(max_examples=300, deadline=None)
@given(values=integers(), first=st.integers(0, 60))
def test_any_suffix_of_any_integers_comes_back(values, first: int) -> None:
    head, data = encode(values)
    first = min(first, len(values) - 1)
    padded = b"\xff" * 5 + data + b"\xff" * SLACK_BYTES
    found = decode(head, padded, 5, len(values), first, 0, values.dtype)
    assert head.size == len(data)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values[first:])


@settings(max_examples=300, deadline=None)
@given(
    times=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300), min_size=1, max_size=60),
    first=st.integers(0, 60),
)
def test_any_suffix_of_any_times_comes_back(times: list[int], first: int) -> None:
    values = np.sort(np.array(times, "i8"))
    first = min(first, len(values) - 1)
    head, data = encode(values, times=True)
    assert head.codec == DELTA
    found = decode(
        head, b"\xff" + data + b"\xff" * SLACK_BYTES, 1, len(values), first, int(values[-1]), values.dtype
    )
    np.testing.assert_array_equal(found, values[first:])


@pytest.mark.parametrize(
    ("values", "codec", "bytes_a_row"),
    [
        (np.full(4096, 7, "u8"), FRAME, 0),
        (np.arange(4096, dtype="u8") % 4 + 10**18, FRAME, 0.25),
        (np.arange(4096, dtype="i4") - 2048, FRAME, 2),
        (np.arange(4096, dtype="u8") % 200 * 10**15, DICT, 1.5),
    ],
)
def test_the_smaller_codec_is_chosen(values, codec: int, bytes_a_row: float) -> None:
    head, data = encode(values)
    assert head.codec == codec
    assert len(data) <= bytes_a_row * len(values)


def test_times_take_a_byte_each_and_gaps_extra() -> None:
    gaps = np.full(4096, 30)
    gaps[::64] = 50_000
    _, data = encode(np.cumsum(gaps), times=True)
    assert len(data) == 4096 + 63 * 4
