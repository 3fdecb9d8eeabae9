"""Counter-based random draws: a number depends on its key alone.

`uniform(seed, cause, *ids)` hashes its key, so the order of calls, the batch and the worker
that asks change nothing, and two arms asking about the same entity get the same answer.

The hash is SplitMix64's finaliser, folded over the key's parts (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = (np.uint64(s) for s in (30, 27, 31, 11))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> _S30)) * _MIX_1
    x = (x ^ (x >> _S27)) * _MIX_2
    mixed: NDArray[np.uint64] = x ^ (x >> _S31)
    return mixed


def _key(seed: int, cause: str) -> NDArray[np.uint64]:
    # A cryptographic digest here costs nothing (once per call) and keeps nearby seeds apart.
    digest = hashlib.blake2b(f"{seed}/{cause}".encode(), digest_size=8).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def bits(seed: int, cause: str, *ids: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits for each key (seed, cause, ids).

    Args:
        seed: the experiment's seed.
        cause: what is drawn, such as "click"; another cause is another stream.
        ids: integers or integer arrays that broadcast against each other.

    Returns:
        uint64, of the ids' broadcast shape.

    Raises:
        TypeError: an id is not an integer.
    """
    state = _key(seed, cause)[0]
    arrays = [np.asarray(i) for i in ids]
    for a in arrays:
        if a.dtype.kind not in "iub":
            raise TypeError(
                f"Draw {cause!r} got an id of dtype {a.dtype}, expected integers. Convert it first."
            )
    with np.errstate(over="ignore"):  # wrap-around is the hash's arithmetic
        folded: NDArray[np.uint64] = np.broadcast_to(state, np.broadcast_shapes(*(a.shape for a in arrays)))
        for a in arrays:
            folded = _mix((folded ^ _mix(a.astype(np.uint64) + _GOLDEN)) + _GOLDEN)
    return folded


def uniform(seed: int, cause: str, *ids: ArrayLike) -> NDArray[np.float64]:
    """A number in [0, 1) for each key (seed, cause, ids); see `bits`.

    Returns:
        float64, of the ids' broadcast shape, 53 random bits each.
    """
    draws: NDArray[np.float64] = (bits(seed, cause, *ids) >> _S11).astype(np.float64) * 2.0**-53
    return draws


def normal(seed: int, cause: str, *ids: ArrayLike) -> NDArray[np.float64]:
    """A standard normal number for each key (seed, cause, ids), by Box and Muller's transform."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(seed, cause + "/radius", *ids)))
    draws: NDArray[np.float64] = radius * np.cos(2.0 * np.pi * uniform(seed, cause + "/angle", *ids))
    return draws
