"""An open store's parts, shared by what reads, writes and maintains it; and loading them from the files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqvault.vault.compiled.options import Options
from seqvault.vault.compiled.rewrite import Blocks, PlainBlocks
from seqvault.vault.compiled.selftest import encoder_trusted
from seqvault.vault.disk.files import Own, anybody, remove
from seqvault.vault.disk.identity import LogFile
from seqvault.vault.disk.manifest import Manifest, log_name
from seqvault.vault.engine.table import Table
from seqvault.vault.log.batches import Batches
from seqvault.vault.log.change import Change
from seqvault.vault.log.record import BATCHES, DELETE, HAS_BATCH, PlainRecords, Records
from seqvault.vault.log.replay import LogRead, changes, read_log
from seqvault.vault.reading.locks import ReadersWriterLock

__all__ = ["Replayed", "State"]


@dataclass
class Replayed:
    """What the logs held.

    Attributes:
        records: changes replayed.
        sequence: number of the last one.
        torn_bytes: bytes cut off, from a write that never finished.
        logs: the logs, with the end of each.
        last: the live log as far as it was read.
    """

    records: int
    sequence: int
    torn_bytes: int
    logs: list[LogFile]
    last: LogRead | None = None


class State:
    """What is in memory of a store.

    Attributes:
        folder, options: as opened.
        own: asked before names in the folder change.
        lock: between readers and whatever changes tables.
        records, blocks: compiled, or plain.
        manifest: the newest that was read or written.
        tables: its sequences.
        batches: batch ids seen lately.
    """

    def __init__(self, folder: Path, options: Options, manifest: Manifest, own: Own = anybody) -> None:
        self.folder = folder
        self.own = own
        self.options = options
        self.manifest = manifest
        self.lock = ReadersWriterLock(plain=options.plain)
        self.records: Records = PlainRecords() if options.plain else _compiled_records()
        self.batches = Batches()
        self.tables: list[Table] = []
        self._blocks: Blocks | None = None

    @property
    def blocks(self) -> Blocks:
        """Made when it is first needed: most readers never rewrite."""
        if self._blocks is None:
            self._blocks = self.new_blocks()
        return self._blocks

    def new_blocks(self) -> Blocks:
        """For another thread."""
        codec = self.options.codec
        return PlainBlocks(codec) if self.options.plain or not encoder_trusted() else _compiled_blocks(codec)

    def load(self) -> None:
        """Open the segments that the manifest lists, and make the indexes. Raises DamagedDataError."""
        for place, sequence in enumerate(self.manifest.sequences):
            table = Table(self.folder, place, sequence, self.lock, self.options)
            self.tables.append(table)
            table.build(sequence.segments)

    def replay(self) -> Replayed:
        """Put what the logs hold into the tables. Raises DamagedDataError."""
        done = Replayed(0, self.manifest.sequence, 0, [])
        for log in self.manifest.logs:
            read = read_log(self.folder / log_name(log.number), log, self.records, done.sequence)
            self.take(read)
            done.records += read.sequence - done.sequence
            done.sequence = read.sequence
            done.torn_bytes += read.torn_bytes
            done.logs.append(log._replace(end=read.end))
            done.last = read
        return done

    def take(self, read: LogRead) -> None:
        """Put records that were read from a log into the tables."""
        found = read.found
        for record in found[(found["kind"] == BATCHES) | (found["flags"] == HAS_BATCH)]:
            ids = [int(record["batch"])]
            if record["kind"] == BATCHES:
                ids = self.records.read(read.data, record.reshape(1), [(0, np.dtype("u8"))])[0].tolist()
            self.batches.note(ids, int(record["sequence"]))
        versions = [sequence.versions for sequence in self.manifest.sequences]
        self.apply(changes(read, self.records, versions))

    def apply(self, done: Iterable[Change]) -> None:
        """Make changes readable, in order."""
        for change in done:
            with self.lock.exclusive():
                if change.kind == DELETE:
                    for table in self.tables:
                        table.apply(change)
                else:
                    self.tables[change.table].apply(change)

    def drop_retired(self) -> None:
        """Close and remove segments that compactions replaced, once no read uses them."""
        self.lock.drain()
        named = self.manifest.files()
        for table in self.tables:
            for segment in table.close_retired():
                # A compaction that was interrupted may have left one whose number was given again.
                if segment.path.name not in named:
                    remove(segment.path, self.own)

    def let_go(self) -> None:
        """Close all segments: reads that use them are another process's."""
        for table in self.tables:
            table.close()

    def close(self) -> None:
        """Close all segments, once no read uses them."""
        self.lock.drain()
        for table in self.tables:
            table.close()


def _compiled_records() -> Records:
    from seqvault.vault.compiled.compiled_records import CompiledRecords

    return CompiledRecords()


def _compiled_blocks(codec: str) -> Blocks:
    from seqvault.vault.compiled.compiled_blocks import CompiledBlocks

    return CompiledBlocks(codec)
