"""A store of format 1 made one of format 2, when it is opened for writing.

Everything is written into new files, which a new manifest then names in one step: a crash before leaves
the old store, a crash after it the new one. The old files are swept, as all that the manifest does not name.
"""

from pathlib import Path

import numpy as np

from seqvault.vault.compiled.options import Options
from seqvault.vault.disk.manifest import Manifest, SequenceState, segment_name, write_manifest
from seqvault.vault.disk.points import point
from seqvault.vault.engine.sealing import Sizes, write_blocks
from seqvault.vault.engine.state import State
from seqvault.vault.format.format1 import read_format1
from seqvault.vault.log.wal import Wal
from seqvault.vault.sealed.segment_writer import SegmentWriter

__all__ = ["convert"]


def convert(folder: Path, name: str, options: Options) -> None:
    """Convert the store in a locked folder; its sequence is called `name` from now on.

    Raises:
        DamagedDataError: something in it fails its checksum; it stays as it is.
        StoreFullError: no space; it stays as it is.
    """
    point("import.begun")
    old = read_format1(folder)
    number = old.next_file
    sequence = SequenceState(name, None, None, (old.schema,), (number,))
    manifest = Manifest(1, (sequence,), (), number + 1, old.sequence, number + 2)
    state = State(folder, options, manifest)
    full = options.block_rows
    with SegmentWriter(folder / segment_name(name, number), number) as writer:
        for rows in old.portions():
            starts = np.zeros(len(rows.users), "u8")
            write_blocks(
                writer,
                old.schema,
                state.blocks,
                rows.users,
                starts,
                rows.bounds,
                rows.columns,
                Sizes(full, full),
            )
        writer.finish()
    point("import.loaded")
    Wal.create(folder, number + 1, state.records, old.sequence).abandon()
    write_manifest(folder, manifest)
    point("import.adopted")
