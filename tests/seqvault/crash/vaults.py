"""How the harness opens a vault: small blocks and early seals, so that a short run crosses every boundary."""

import os
from pathlib import Path
from typing import Any

from streams import SCHEMAS

from seqvault import open_store
from seqvault.schema import SequenceType

# Kills and the lossy disk need no device: what a killed process wrote is in the page cache.
MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
SMALL: dict[str, Any] = {"block_rows": 16, "seal_rows": 300, "background": False}


def sequences() -> tuple[SequenceType, ...]:
    return tuple(SequenceType(name, schema) for name, schema in SCHEMAS.items())


def open_vault(folder: Path | str, **options: Any) -> Any:
    """A vault with the sequences of streams.py; options go over SMALL."""
    return open_store("seqvault", folder, sequences=sequences(), **{**SMALL, **options})
