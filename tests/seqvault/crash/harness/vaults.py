"""How the harness opens a vault: small blocks and early seals, so that a short run crosses every boundary."""

import os
from pathlib import Path
from typing import Any

from streams import SCHEMAS

from seqvault import open_store
from seqvault.schema import SequenceType
from seqvault.vault.engine import compaction

# Kills and the lossy disk need no device: what a killed process wrote is in the page cache.
MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
_AS_IT_IS = compaction._DEAD_BYTES, compaction._MOST_SEGMENTS, compaction._MERGED
SMALL: dict[str, Any] = {"block_rows": 16, "seal_rows": 300, "background": False}


def compact_early(early: bool) -> None:
    """Let parts of small stores be worth compacting, or not; in this process, from now on.

    As the engine is, runs that do not begin with the first segment, where tombstones must be kept, come up in
    large stores alone.
    """
    few = (300, 4, 2) if early else _AS_IT_IS
    compaction._DEAD_BYTES, compaction._MOST_SEGMENTS, compaction._MERGED = few


def sequences() -> tuple[SequenceType, ...]:
    return tuple(SequenceType(name, schema) for name, schema in SCHEMAS.items())


def open_vault(folder: Path | str, **options: Any) -> Any:
    """A vault with the sequences of streams.py; options go over SMALL."""
    return open_store("seqvault", folder, sequences=sequences(), **{**SMALL, **options})
