"""Units and the places of rows among them are what np.unique finds, however ids are spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.analysis import columns
from simulator.analysis.columns import units_of


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int16, np.int64])
@given(ids=st.lists(st.integers(0, 40), max_size=60), spread=st.sampled_from([1, 3]), high=st.booleans())
def test_units_are_those_that_sorting_finds(dtype, ids, spread, high):
    found = np.array(ids, dtype) * dtype(spread)
    if high:
        found += dtype(np.iinfo(dtype).max - 120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_AT_ONCE", 7)
        units, at = units_of(found)
    expected, places = np.unique(found, return_inverse=True)
    np.testing.assert_array_equal(units, expected)
    np.testing.assert_array_equal(at, places)
    assert (units.dtype, at.dtype) == (found.dtype, np.int32)
