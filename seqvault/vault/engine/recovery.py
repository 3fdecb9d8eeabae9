"""Opening a store for writing: lock it, load what the manifest names, replay the logs, sweep the rest."""

import fcntl
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from seqvault.errors import DamagedDataError, SchemaError, StoreError, StoreLockedError
from seqvault.kinds import check_kind
from seqvault.ownership import inode_of, leads_to, lost_folder, tell_of_forks
from seqvault.schema import HistorySchema, SequenceType
from seqvault.vault.compiled.options import Options
from seqvault.vault.disk import files
from seqvault.vault.disk.evolution import evolve
from seqvault.vault.disk.files import FolderLostError, Own
from seqvault.vault.disk.identity import LogFile, new_file, new_store
from seqvault.vault.disk.manifest import (
    NAME,
    Manifest,
    SequenceState,
    log_name,
    read_manifest,
    write_manifest,
)
from seqvault.vault.disk.points import point
from seqvault.vault.engine.state import Replayed, State
from seqvault.vault.log.wal import HEAD_BYTES, Wal

__all__ = ["Asked", "FolderLock", "recover", "with_sequences"]

_DEFAULT_SEQUENCE = "behaviours"
_OURS = re.compile(r"[a-z][a-z0-9_]*-\d{8}\.(seg|log|new)|MANIFEST\.new")


@dataclass(frozen=True)
class Asked:
    """What the caller opens with.

    Args:
        schema: of the first sequence, where `sequences` names none; None for the newest stored.
        sequences: the store's sequences; None for those stored.
    """

    schema: HistorySchema | None
    sequences: tuple[SequenceType, ...] | None


class FolderLock:
    """The folder of a writer, made and locked; another writer may have it once this one closed it, or died.

    Raises:
        StoreLockedError: another writer has it.
    """

    def __init__(self, folder: Path) -> None:
        files.make_folder(folder)
        self._folder, self._path = folder, folder / "LOCK"
        try:
            self._fd = files.io.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise files.write_error(error, self._path) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise StoreLockedError(
                f"{folder} is open for writing elsewhere: close it there, or open it with read_only=True"
            ) from error
        self._inode = inode_of(self._fd)
        tell_of_forks(self)

    def own(self) -> None:
        """Raise FolderLostError unless the path leads to the folder that was locked."""
        # Not by the folder itself: one that was emptied and is used anew is another writer's as well.
        if not leads_to(self._path, self._inode):
            raise FolderLostError(lost_folder(self._folder))

    def forked(self) -> None:
        """A child that kept the descriptor would keep the lock, after its parent has closed the store."""
        self.close()

    def close(self) -> None:
        """Let another writer have the folder; harmless when that was done before."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            files.close(fd)


def recover(folder: Path, asked: Asked, options: Options, own: Own) -> tuple[State, Wal, Replayed]:
    """The store in a locked folder, ready to be written to; made if there is none.

    Args:
        own: whether the folder is still the one that was locked.

    Raises:
        DamagedDataError: manifest, logs or footers fail their checksums.
        SchemaError: the caller's schema does not follow the stored one.
    """
    # Names may be those a killed process never synced: nothing is built on them before.
    files.sync_folder(folder)
    point("recovery.begun")
    stored = read_manifest(folder) or _make(folder, asked, options, own)
    state = State(folder, options, with_sequences(stored, asked), own)
    try:
        state.load()
        state.manifest = _identified(state)
        replayed = state.replay()
        point("recovery.replayed")
        wal = _resume(state, stored, replayed)
    except BaseException:
        state.close()
        raise
    sweep(folder, state.manifest, own)
    point("recovery.swept")
    return state, wal, replayed


def with_sequences(manifest: Manifest, asked: Asked) -> Manifest:
    """The manifest with the caller's sequences: schemas evolved, limits taken over, new ones added.

    Raises:
        SchemaError: a schema does not follow the stored one.
    """
    wanted = asked.sequences
    if wanted is not None and len({kind.name for kind in wanted}) < max(len(wanted), 1):
        raise SchemaError(
            f"sequences {[kind.name for kind in wanted]}: expected at least one, of different names"
        )
    if wanted is None:
        first = manifest.sequences[0]
        versions = evolve(first.versions, asked.schema)
        return manifest.with_sequence(0, versions=versions)
    places = {sequence.name: place for place, sequence in enumerate(manifest.sequences)}
    for kind in wanted:
        if kind.name in places:
            place = places[kind.name]
            versions = evolve(manifest.sequences[place].versions, kind.schema)
            manifest = manifest.with_sequence(place, versions=versions, cap=kind.cap, ttl_s=kind.ttl_s)
        else:
            manifest = replace(manifest, sequences=(*manifest.sequences, new_sequence(kind)))
    return manifest


def new_sequence(kind: SequenceType) -> SequenceState:
    """A sequence without behaviours."""
    return SequenceState(kind.name, kind.cap, kind.ttl_s, (kind.schema,))


def sweep(folder: Path, manifest: Manifest, own: Own) -> None:
    """Remove what a crash left behind: files of ours that the manifest does not name."""
    named = manifest.files()
    for file in folder.iterdir():
        if _OURS.fullmatch(file.name) and file.name not in named:
            files.remove(file, own)


def _identified(state: State) -> Manifest:
    """The manifest with what one of format 2 does not know of the store and of its segments, now open."""
    manifest = state.manifest
    if manifest.store:
        return manifest
    for table in state.tables:
        files_of = {segment.file.number: segment.file for segment in table.segments.values()}
        segments = tuple(files_of[file.number] for file in manifest.sequences[table.place].segments)
        manifest = manifest.with_sequence(table.place, segments=segments)
    return replace(manifest, store=new_store())


def _resume(state: State, stored: Manifest, replayed: Replayed) -> Wal:
    """The log to go on with: the live one, or a new one behind a torn one."""
    folder, manifest = state.folder, state.manifest
    live = folder / log_name(manifest.log.number)
    sequence = replayed.sequence
    if replayed.torn_bytes:
        # Its last record may have been read from a page that never got to the disk.
        _sync_file(live)
        log = LogFile(manifest.next_file, new_file(manifest.store))
        wal = Wal.create(folder, log, state.records, state.own, sequence)
        manifest = replace(
            manifest, closed_logs=tuple(replayed.logs), log=log, next_file=manifest.next_file + 1
        )
    else:
        end = replayed.logs[-1].end or 0
        wal = Wal.reopen(live, manifest.log, state.records, state.own, sequence=sequence, end=end)
    if manifest != stored:
        try:
            manifest = replace(manifest, generation=stored.generation + 1)
            write_manifest(folder, manifest, state.own)
        except StoreError:
            wal.abandon()
            raise
    state.manifest = manifest
    return wal


def _sync_file(path: Path) -> None:
    fd = files.open_file(path, write=True)
    try:
        files.sync(fd, path)
    finally:
        files.close(fd)


def _make(folder: Path, asked: Asked, options: Options, own: Own) -> Manifest:
    """A new store. Raises DamagedDataError where one has lost its manifest, StoreError in another kind's."""
    check_kind(folder, "seqvault")
    for file in folder.iterdir():
        # A log that holds no record is left of a store whose making ended before its manifest.
        empty = file.suffix == ".log" and file.stat().st_size <= HEAD_BYTES
        if file.suffix in (".seg", ".log") and not empty:
            raise DamagedDataError(
                f"{folder} has data files but no {NAME}: restore it from backup, or use another folder"
            )
    kinds = asked.sequences
    if kinds is None:
        if asked.schema is None:
            raise SchemaError(f"{folder} has no store yet: open it with a schema to make one")
        kinds = (SequenceType(_DEFAULT_SEQUENCE, asked.schema),)
    store = new_store()
    log = LogFile(1, new_file(store))
    manifest = Manifest(store, 1, tuple(new_sequence(kind) for kind in kinds), (), log, 0, 2)
    # The folder's own name, whoever made it.
    files.sync_folder(folder.parent)
    Wal.create(folder, log, State(folder, options, manifest).records, own, 0).abandon()
    write_manifest(folder, manifest, own)
    return manifest
