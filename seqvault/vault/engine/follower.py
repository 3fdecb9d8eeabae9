"""Following a store that another process may be writing to: a reader's state, brought up to date when asked.

A refresh reads the manifest. The log goes on where it was read to; a seal's segments are applied, the tails
cleared and the new log read; after a compaction everything is loaded anew and takes the place of what was.
"""

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

from seqvault.errors import DamagedDataError, SchemaError, StoreError
from seqvault.kinds import check_kind
from seqvault.ownership import inode_of, leads_to, lost_folder, open_folder
from seqvault.schema import HistorySchema
from seqvault.vault.compiled.options import Options
from seqvault.vault.disk import files
from seqvault.vault.disk.manifest import NAME, Manifest, log_name, read_manifest
from seqvault.vault.engine.recovery import Asked, with_sequences
from seqvault.vault.engine.state import Replayed, State
from seqvault.vault.log.replay import LogRead, follow_log, read_log
from seqvault.vault.sealed.doubt import Doubt

__all__ = ["Follower"]


class Follower:
    """A store open for reading.

    Args:
        folder: the store's.
        asked: what the caller opens with; columns the store does not have yet read as their defaults.
        options: `staleness_s` bounds how old the state may be that a read sees.

    Attributes:
        state: replaced as a whole by some refreshes; take it once per read.
        replayed: what was found when it was opened.

    Raises:
        StoreError: there is no store.
        DamagedDataError: manifest, logs or footers fail their checksums.
    """

    def __init__(self, folder: Path, asked: Asked, options: Options) -> None:
        self._folder = folder
        self._asked = asked
        self._options = options
        self._turn = threading.Lock()
        self._read: LogRead
        self._own: dict[str, HistorySchema] = {}
        self._log_fd: int | None = None
        self._refreshed_s = time.monotonic()
        try:
            self._folder_fd = open_folder(folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _no_store(folder) from error
        except OSError as error:
            raise files.open_error(error, folder) from error
        self._inode = inode_of(self._folder_fd)
        try:
            self.state, self.replayed = self._load()
            self._follow_from(self.replayed)
        except BaseException:
            os.close(self._folder_fd)
            raise

    @property
    def sequence(self) -> int:
        """Number of the last change it has seen."""
        return self._read.sequence

    @property
    def log_end(self) -> int:
        """Byte behind the last record of the live log it has seen."""
        return self._read.end

    def current(self) -> State:
        """The store, refreshed when that last began longer ago than staleness_s."""
        if time.monotonic() - self._refreshed_s > self._options.staleness_s:
            with self._turn:
                # Another thread may have been refreshing while this one waited.
                if time.monotonic() - self._refreshed_s > self._options.staleness_s:
                    self._refresh()
        return self.state

    def refresh(self) -> None:
        """See everything that was acknowledged before the call. Raises DamagedDataError."""
        with self._turn:
            self._refresh()

    def own(self) -> None:
        """Raise StoreError unless the path leads to the folder that was opened."""
        if not leads_to(self._folder, self._inode):
            raise StoreError(lost_folder(self._folder))

    def let_go(self) -> None:
        """Close all files; the locks are of another process."""
        self._close_log()
        self.state.let_go()
        os.close(self._folder_fd)

    def close(self) -> None:
        """Close all files."""
        with self._turn:
            self._close_log()
            self.state.close()
            os.close(self._folder_fd)

    def _refresh(self) -> None:
        began_s = time.monotonic()
        self.own()
        manifest = _named(self._folder)
        known = self.state.manifest
        if manifest.generation != known.generation:
            if _sealed_since(known, manifest):
                self._take_seal(manifest)
            else:
                self._reload()
        elif self._log_fd is not None:
            self._take_log()
        self._refreshed_s = began_s

    def _load(self) -> tuple[State, Replayed]:
        """As the writer left it; tried again when the writer replaces files meanwhile."""
        doubt = Doubt(self._folder)
        while True:
            manifest = None
            try:
                manifest = _named(self._folder)
                return self._load_named(manifest)
            except DamagedDataError as error:
                doubt.weigh(manifest, error)

    def _load_named(self, manifest: Manifest) -> tuple[State, Replayed]:
        state = State(self._folder, self._options, self._adapted(manifest))
        try:
            state.load()
            return state, state.replay()
        except BaseException:
            state.close()
            raise

    def _reload(self) -> None:
        """Load everything anew; a read that still has the old state notices and takes the new one."""
        old = self.state
        self.state, replayed = self._load()
        self._close_log()
        self._follow_from(replayed)
        old.close()

    def _take_seal(self, manifest: Manifest) -> None:
        """Apply the segments of a seal, and go on with the log that it began."""
        state, known = self.state, self.state.manifest
        try:
            slots = [
                [table.open_segment(file) for file in sequence.segments[len(before.segments) :]]
                for table, sequence, before in zip(
                    state.tables, manifest.sequences, known.sequences, strict=True
                )
            ]
            entries = [
                [(slot, table.entries(slot)) for slot in new]
                for table, new in zip(state.tables, slots, strict=True)
            ]
            path = self._folder / log_name(manifest.log.number)
            read = read_log(path, manifest.log, state.records, manifest.sequence)
        except StoreError as error:
            self._close_unknown(known)
            if not isinstance(error, DamagedDataError):
                raise
            # Replaced once more meanwhile, or damaged: loading finds out.
            self._reload()
            return
        with state.lock.exclusive():
            state.manifest = self._adapted(manifest)
            for table, sequence, new in zip(state.tables, state.manifest.sequences, entries, strict=True):
                for slot, of_segment in new:
                    table.index.apply(slot, of_segment)
                table.tails.clear()
                table.deleted.clear()
                table.limit(sequence)
            state.take(read)
        self._close_log()
        self._follow(read)

    def _close_unknown(self, known: Manifest) -> None:
        """Close segments that a manifest does not name: nothing is read from them yet."""
        for table, sequence in zip(self.state.tables, known.sequences, strict=True):
            numbers = {file.number for file in sequence.segments}
            new = [slot for slot, segment in table.segments.items() if segment.file.number not in numbers]
            for slot in new:
                table.discard(slot)

    def _take_log(self) -> None:
        """Put what was written since the last refresh into the tails."""
        state, log = self.state, self.state.manifest.log
        path = self._folder / log_name(log.number)
        assert self._log_fd is not None
        try:
            read = follow_log(self._log_fd, path, log, state.records, self._read)
        except DamagedDataError:
            # A writer that closes cuts off what it had reserved; loading finds out whether it is more.
            self._reload()
            return
        state.take(read)
        self._read = replace(read, data=read.data[:0], found=read.found[:0])

    def _follow_from(self, replayed: Replayed) -> None:
        assert replayed.last is not None
        self._follow(replayed.last)

    def _follow(self, read: LogRead) -> None:
        """Go on behind what was read of the live log."""
        path = self._folder / log_name(self.state.manifest.log.number)
        try:
            self._log_fd = files.open_file(path)
        except FileNotFoundError:
            # Replaced meanwhile: the next refresh finds a newer manifest.
            self._log_fd = None
        self._read = replace(read, data=read.data[:0], found=read.found[:0])

    def _close_log(self) -> None:
        if self._log_fd is not None:
            files.close(self._log_fd)
            self._log_fd = None

    def _adapted(self, manifest: Manifest) -> Manifest:
        """The manifest with the schemas this reader was opened with as the newest."""
        if not self._own:
            asked = with_sequences(manifest, self._asked)
            stored = {sequence.name for sequence in manifest.sequences}
            unknown = [sequence.name for sequence in asked.sequences if sequence.name not in stored]
            if unknown:
                raise SchemaError(
                    f"{self._folder} has no sequences {unknown}: it has {sorted(stored)}; open it for "
                    "writing to add some"
                )
            self._own = {sequence.name: sequence.schema for sequence in asked.sequences}
        for place, sequence in enumerate(manifest.sequences):
            own = self._own.get(sequence.name, sequence.schema)
            versions = (*(version for version in sequence.versions if version != own), own)
            manifest = manifest.with_sequence(place, versions=versions)
        return manifest


def _named(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        check_kind(folder, "seqvault")
        raise _no_store(folder)
    return manifest


def _no_store(folder: Path) -> StoreError:
    return StoreError(
        f"{folder}: no SeqVault store here (no {NAME}); check the path, or open it with "
        "read_only=False to make one"
    )


def _sealed_since(known: Manifest, manifest: Manifest) -> bool:
    """Whether seals are all that changed a store."""
    if manifest.closed_logs or manifest.log == known.log:
        return False
    if len(manifest.sequences) != len(known.sequences):
        return False
    return all(
        set(new.versions) <= set(old.versions) and new.segments[: len(old.segments)] == old.segments
        for old, new in zip(known.sequences, manifest.sequences, strict=True)
    )
