"""Binary search in sorted words."""

import numpy as np

from seqvault.vault.kernels.compiled import inner

__all__ = ["first_at_least"]

_U0, _U1 = np.uint64(0), np.uint64(1)


@inner
def first_at_least(values, value):  # type: ignore[no-untyped-def]
    """How many of the sorted u8 values are below one: the place of the first that is not."""
    low, high = _U0, np.uint64(values.size)
    while low < high:
        middle = (low + high) >> _U1
        if values[middle] < value:
            low = middle + _U1
        else:
            high = middle
    return low
