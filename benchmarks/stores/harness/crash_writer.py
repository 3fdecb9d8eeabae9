"""A writer that dies: appends a stream of behaviours to a new SeqVault, flushes, and kills itself.

    python -m benchmarks.stores.harness.crash_writer STORE STREAM ROWS

Run by benchmarks/stores/writes.py, which then opens what is left.
"""

import os
import signal
import sys
from pathlib import Path

from benchmarks.stores.harness.rocks import read_stream
from benchmarks.stores.harness.vault import open_vault, stream_batches


def main(store_path: Path, stream: Path, rows: int) -> None:
    """Append, flush, die without closing anything."""
    histories, users = read_stream(stream)
    store = open_vault(store_path, histories.schema, durability="async")
    written = {name: values[:rows] for name, values in histories.columns.items()}
    for ids, columns in stream_batches(users[:rows], written, 10_000):
        store.append(ids, columns)
    store.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
