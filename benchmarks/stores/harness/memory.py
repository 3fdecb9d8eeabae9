"""Memory of an index, measured in a process of its own: what the store says, and how much the process grows.

python -m benchmarks.stores.harness.memory open STORE BEHAVIOURS_SCHEMA_JSON
python -m benchmarks.stores.harness.memory index USERS BLOCKS_PER_USER
"""

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.stores.harness.clock import resident_bytes
from benchmarks.stores.harness.generator import Histories
from benchmarks.stores.harness.vault import UnavailableError, open_vault
from seqvault import HistorySchema

MILLION = 1_000_000


def open_growth(path: Path, histories: Histories) -> dict[str, int]:
    """index_bytes by the store's own count, and resident_growth_bytes of a process that opens it."""
    return _ask("open", str(path), json.dumps(histories.schema.to_dict()))


def index_growth(blocks_per_user: int) -> dict[str, int]:
    """The same of an index alone, of a million users."""
    return _ask("index", str(MILLION), str(blocks_per_user))


def _ask(*arguments: str) -> dict[str, int]:
    program = [sys.executable, "-m", "benchmarks.stores.harness.memory"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"memory.py {arguments[0]}: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout))


def _opened(path: str, schema: str) -> dict[str, int]:
    described = HistorySchema.from_dict(json.loads(schema))
    # Opening the store once before takes imports and compiled code out of the growth.
    open_vault(Path(path), described, read_only=True).close()
    gc.collect()
    before = resident_bytes()
    with open_vault(Path(path), described, read_only=True) as store:
        growth = resident_bytes() - before
        return {"index_bytes": int(store.stats()["index_bytes"]), "resident_growth_bytes": growth}


def _indexed(users: int, blocks: int) -> dict[str, int]:
    from seqvault.vault.format.entries import ENTRY
    from seqvault.vault.reading.index import Index

    entries = np.zeros(users * blocks, ENTRY)
    entries["user"] = np.repeat(np.arange(users, dtype="u8") * np.uint64(2654435761), blocks)
    entries["start"] = np.tile(np.arange(blocks, dtype="u8") * np.uint64(4096), users)
    entries["first_s"] = entries["start"]
    entries["last_s"] = entries["start"] + np.uint64(4095)
    entries["offset"] = np.arange(len(entries), dtype="u8") * np.uint64(20_480)
    entries["size"], entries["rows"] = 20_480, 4096
    Index().build([(0, entries[:blocks])])
    gc.collect()
    before = resident_bytes()
    index = Index()
    index.build([(0, entries)])
    gc.collect()
    growth = resident_bytes() - before
    return {
        "users": users,
        "blocks": blocks * users,
        "index_bytes": index.nbytes,
        "resident_growth_bytes": growth,
    }


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    print(json.dumps(_opened(*rest) if verb == "open" else _indexed(*map(int, rest))))
