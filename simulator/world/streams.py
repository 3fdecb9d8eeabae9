"""Generators whose order is fixed: one Philox stream for each (seed, stage, block)."""

from __future__ import annotations

import hashlib

import numpy as np


def block_stream(seed: int, stage: str, block: int = 0) -> np.random.Generator:
    """The generator of one block of one stage; independent of every other block and stage.

    Source: Philox, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    # A digest as key: nearby seeds and blocks share no structure.
    digest = hashlib.blake2b(f"{seed}/{stage}/{block}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64)))
