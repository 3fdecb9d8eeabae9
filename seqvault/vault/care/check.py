"""Check: read and verify every byte a store needs, change nothing, and say what damage means.

Works while another process writes to the store: what its manifest names is checked, and checked again where a
new manifest came meanwhile.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import Array
from seqvault.vault.compiled.options import Options
from seqvault.vault.disk.identity import LogFile, StrangerError, in_words
from seqvault.vault.disk.manifest import (
    NAME,
    Manifest,
    SequenceState,
    log_name,
    read_manifest,
    segment_name,
)
from seqvault.vault.disk.segment import Segment
from seqvault.vault.format.entries import block_sizes, is_shared
from seqvault.vault.log.record import PlainRecords, Records
from seqvault.vault.log.replay import LogRead, read_log
from seqvault.vault.reading.plain import PlainIndex
from seqvault.vault.sealed.blockcheck import damaged_blocks
from seqvault.vault.sealed.salvage import entries_of_blocks

__all__ = ["Checked", "Finding", "Report", "check_store"]

_TRIES = 5
# Users of a damaged block that are named.
_NAMED = 8
_DATA = re.compile(r"\w+-\d{8}\.(seg|log|bin|new)|MANIFEST\.new")

_SEGMENT = (
    "Such files never change: copy {name} from a snapshot or backup that has it with identity {id}, then "
    "check again; one with another identity is refused."
)
_SALVAGE = (
    " Without one: `laser-ab store dump {folder} --skip-damaged --out FILE` saves the other users, and "
    "delete_user({user}) gives up what is lost."
)
_RELOAD = " Without one: save everything with `laser-ab store dump`, and load it into a new store."
_TOGETHER = "Restore the whole folder from a snapshot or backup: the manifest and the logs change together."


@dataclass(frozen=True)
class Checked:
    """An intact file.

    Attributes:
        holds: what is in it, in words.
    """

    name: str
    bytes: int
    holds: str


@dataclass(frozen=True)
class Finding:
    """Damage.

    Attributes:
        file: the damaged file's name.
        byte: where in it, if that is known.
        found: what is wrong.
        readable: what reads still return.
        mend: what to do.
    """

    file: str
    byte: int | None
    found: str
    readable: str
    mend: str


@dataclass
class Report:
    """What a check found.

    Attributes:
        path: the store's folder.
        generation: of the manifest that was checked; None where it is damaged.
        files: the intact files.
        findings: the damage.
        notes: what is worth knowing and no damage.
    """

    path: str
    generation: int | None = None
    files: list[Checked] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every read will be answered."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"sound": self.sound, **asdict(self)}


OnProgress = Callable[[int, int], None]


def check_store(path: Path, on_progress: OnProgress = lambda done, total: None) -> Report:
    """Verify a store's files.

    Args:
        on_progress: called with (files done, files) before each file and at the end.

    Raises:
        StoreError: there is no SeqVault in this folder.
    """
    for attempt in range(_TRIES):
        report = _Check(path, on_progress).run()
        if report.sound or attempt == _TRIES - 1 or _generation(path) == report.generation:
            break
    return report


def _generation(path: Path) -> int | None:
    try:
        manifest = read_manifest(path)
    except StoreError:
        return None
    return None if manifest is None else manifest.generation


class _Check:
    """One pass over the files that one manifest names."""

    def __init__(self, path: Path, on_progress: OnProgress) -> None:
        self._path, self._on_progress = path, on_progress
        self._report = Report(str(path))
        self._done = self._total = 0
        self._records: Records = _records()

    def run(self) -> Report:
        """The pass."""
        manifest = self._manifest()
        if manifest is None:
            return self._report
        self._report.generation = manifest.generation
        self._total = len(manifest.files())
        for state in manifest.sequences:
            self._sequence(state)
        self._logs(manifest)
        self._on_progress(self._total, self._total)
        self._surroundings(manifest)
        return self._report

    def _manifest(self) -> Manifest | None:
        if not self._path.is_dir():
            raise StoreError(f"{self._path}: no such folder; expected one that holds a SeqVault store")
        try:
            manifest = read_manifest(self._path)
        except DamagedDataError as error:
            self._find(
                NAME, None, str(error), "nothing: only the manifest says which files are live", _TOGETHER
            )
            return None
        if manifest is None:
            if not any(file.suffix == ".seg" for file in self._path.iterdir()):
                raise StoreError(f"{self._path}: no SeqVault store here (no {NAME}); check the path")
            self._find(
                NAME,
                None,
                "it is missing, and there are segments",
                "nothing: only the manifest says which files are live",
                _TOGETHER,
            )
            return None
        self._intact(NAME, f"generation {manifest.generation}")
        return manifest

    def _sequence(self, state: SequenceState) -> None:
        """The segments of one sequence: first their footers, which say what is live, then the blocks."""
        opened: list[Segment] = []
        footers: list[Array] = []
        try:
            for file in state.segments:
                name = segment_name(state.name, file.number)
                try:
                    opened.append(Segment(self._path / name, file))
                    footers.append(self._footer(opened[-1]))
                except StoreError as error:
                    for segment in opened[len(footers) :]:
                        segment.close()
                    del opened[len(footers) :]
                    readable = f"nothing of sequence {state.name} opens without this file"
                    self._find(name, None, str(error), readable, _segment(name, file.id))
            index = PlainIndex()
            index.build(list(enumerate(footers)))
            live = index.live()
            for slot, (segment, entries) in enumerate(zip(opened, footers, strict=True)):
                self._segment(segment, entries, live[live["slot"] == slot], state, live)
        finally:
            for segment in opened:
                segment.close()

    def _footer(self, segment: Segment) -> Array:
        """A segment's entries; of its blocks where the footer is damaged. Raises DamagedDataError."""
        try:
            return segment.entries()
        except StrangerError:
            raise
        except DamagedDataError as error:
            found = entries_of_blocks(segment)
            if found is None:
                raise
            name = segment.path.name
            readable = "everything, read-only: its blocks are intact; the store does not open for writing"
            self._find(name, None, str(error), readable, _segment(name, segment.file.id) + _RELOAD)
            return found

    def _segment(
        self, segment: Segment, entries: Array, live: Array, state: SequenceState, all_live: Array
    ) -> None:
        self._on_progress(self._done, self._total)
        schemas = frozenset(version.id for version in state.versions)
        places = {(user, at) for user, at in zip(live["user"].tolist(), live["offset"].tolist(), strict=True)}
        name = segment.path.name
        damaged = 0
        for of_block, why in damaged_blocks(segment, entries, schemas):
            at = int(of_block["offset"][0])
            needed = of_block[[(user, at) in places for user in of_block["user"].tolist()]]
            if not len(needed):
                self._report.notes.append(
                    f"{name}, byte {at}: a block no history needs any more {why}; compaction drops it"
                )
                continue
            damaged += 1
            if is_shared(needed)[0]:
                self._lost_shared(segment, needed, why)
            else:
                self._lost(segment, needed[0], why, all_live)
        if not damaged and all(finding.file != name for finding in self._report.findings):
            self._intact(
                name,
                f"{_blocks(live):,} live blocks of {_blocks(entries[entries['rows'] > 0]):,}, "
                f"{int(live['rows'].sum()):,} behaviours",
            )
        self._done += 1

    def _lost(self, segment: Segment, entry: np.void, why: str, live: Array) -> None:
        user, start, rows = int(entry["user"]), int(entry["start"]), int(entry["rows"])
        others = int(live["rows"][live["user"] == user].sum()) - rows
        name = segment.path.name
        self._find(
            name,
            int(entry["offset"]),
            f"block of user {user}, {entry['size']} bytes, {why}",
            f"not its {rows:,} behaviours, {entry['first_s']} <= time_s <= {entry['last_s']} (from rank "
            f"{start} of the history); the user's {others:,} other sealed behaviours, newer and older ones, "
            "and all other users",
            _segment(name, segment.file.id) + _SALVAGE.format(folder=self._path, user=user),
        )

    def _lost_shared(self, segment: Segment, needed: Array, why: str) -> None:
        users, name = needed["user"].tolist(), segment.path.name
        size = int(block_sizes(needed)[0])
        some = ", ".join(map(str, users[:_NAMED])) + (", ..." if len(users) > _NAMED else "")
        self._find(
            name,
            int(needed["offset"][0]),
            f"block of {len(users):,} users from {users[0]} to {users[-1]}, {size} bytes, {why}",
            f"not the {int(needed['rows'].sum()):,} sealed behaviours of users {some}; all other users",
            _segment(name, segment.file.id) + _SALVAGE.format(folder=self._path, user="each of them"),
        )

    def _logs(self, manifest: Manifest) -> None:
        """The closed logs and the live one, whose changes follow each other."""
        sequence = manifest.sequence
        for log in manifest.logs:
            self._on_progress(self._done, self._total)
            name = log_name(log.number)
            try:
                read = self._log(self._path / name, log, sequence)
            except StoreError as error:
                readable = f"everything up to change {sequence}, from the segments; the store does not open"
                self._find(name, None, str(error), readable, _TOGETHER)
                return
            self._intact(
                name, f"changes {sequence + 1} to {read.sequence}" if len(read.found) else "no change"
            )
            if read.torn_bytes:
                self._report.notes.append(
                    f"{name}, byte {read.end}: {read.torn_bytes} bytes of an unfinished write, never "
                    "acknowledged; if no writer is at it, a crash cut it short, and the next open ignores it"
                )
            sequence = read.sequence
            self._done += 1

    def _log(self, path: Path, log: LogFile, sequence: int) -> LogRead:
        """A log; a writer may be between two records of what is read, which looks like damage once."""
        for _ in range(_TRIES - 1):
            try:
                return read_log(path, log, self._records, sequence)
            except DamagedDataError:
                continue
        return read_log(path, log, self._records, sequence)

    def _surroundings(self, manifest: Manifest) -> None:
        """Files the manifest does not name."""
        known = manifest.files() | {NAME, "LOCK"}
        for file in sorted(self._path.iterdir()):
            if file.name not in known:
                left = "a crash or a running writer left it; the next writer removes it"
                self._report.notes.append(
                    f"{file.name}: " + (left if _DATA.fullmatch(file.name) else "not of SeqVault")
                )

    def _intact(self, name: str, holds: str) -> None:
        self._report.files.append(Checked(name, (self._path / name).stat().st_size, holds))

    def _find(self, name: str, byte: int | None, found: str, readable: str, mend: str) -> None:
        self._report.findings.append(Finding(name, byte, found, readable, mend))


def _blocks(entries: Array) -> int:
    """How many blocks there are, shared ones once."""
    return len(np.unique(entries["offset"]))


def _segment(name: str, file_id: int) -> str:
    return _SEGMENT.format(name=name, id=in_words(file_id))


def _records() -> Records:
    if Options().plain:
        return PlainRecords()
    from seqvault.vault.compiled.compiled_records import CompiledRecords

    return CompiledRecords()
