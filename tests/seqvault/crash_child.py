"""A process killed while it appends. Run as a script it is the nursery: a line of input forks a writer.

Imports, and loading compiled kernels, are paid once; each round costs a fork. The nursery itself never opens
a LastN store, so that no thread of RocksDB is lost in the fork. A line is JSON [kind, folder, first batch,
acks file, seconds to live, whether they count from its first acknowledgement]; the answer is "killed" or what
the writer died of.
"""

import json
import os
import select
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from histories import open_kind

import seqvault.lastn  # noqa: F401
from seqvault.vault import SeqVault

USERS = 6
ROWS = 7


def batch(number: int):
    """(user ids, columns) of append `number`: six users, one of them twice; every fifth batch is late."""
    user_ids = (np.arange(ROWS) + number) % USERS
    times = np.full(ROWS, 10 * number - (35 if number % 5 == 4 else 0))
    items = number * ROWS + np.arange(ROWS)
    return user_ids, {
        "time_s": times,
        "item_id": items,
        "category": items % 1000,
        "action": items % 4,
        "scene": items % 3,
        "dwell_s": items % 600,
    }


def write(kind: str, folder: str, first: int, acks: str) -> None:
    """Append batch after batch, noting each one that append has acknowledged."""
    fd = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    store = open_kind(kind, Path(folder))
    number = first
    while True:
        store.append(*batch(number))
        number += 1
        os.write(fd, number.to_bytes(8, "little"))


def acknowledged(acks: Path) -> bool:
    """Whether the writer has noted an append."""
    return acks.exists() and acks.stat().st_size > 0


def main() -> None:
    with TemporaryDirectory() as folder, SeqVault(folder, background=False) as store:
        store.append(*batch(0))
        store.seal()
    for line in sys.stdin:
        kind, folder, first, acks, live_s, opens = json.loads(line)
        died, dies = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(died)
            write(kind, folder, first, acks)
        os.close(dies)
        # Readable before the time is up only if the writer died by itself.
        early = False
        while opens and not early and not acknowledged(Path(acks)):
            early = bool(select.select([died], [], [], 0.001)[0])
        early = early or bool(select.select([died], [], [], live_s)[0])
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(died)
        print("killed" if not early else f"died by itself, status {status}", flush=True)


if __name__ == "__main__":
    main()
