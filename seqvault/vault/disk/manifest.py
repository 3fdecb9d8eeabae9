"""The manifest: which files make up the store, and what no file of rows says. Replaced whole, atomically.

Two lines of text: the JSON, and its hash64 in hexadecimal. `generation` grows with every replacement. Files
it does not name are leftovers of a crash, or of a writer that is about to name or to remove them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import HistorySchema, SequenceType
from seqvault.vault.disk.files import Own, read_file, replace_file
from seqvault.vault.format.hash64 import hash64

__all__ = [
    "FORMAT",
    "NAME",
    "ClosedLog",
    "Manifest",
    "SequenceState",
    "log_name",
    "read_manifest",
    "segment_name",
    "write_manifest",
]

NAME = "MANIFEST"
FORMAT = 2
# The oldest time there is: nothing is older than this floor.
NO_FLOOR_S = -(1 << 63)


@dataclass(frozen=True)
class SequenceState:
    """One sequence of the store.

    Args:
        name, cap, ttl_s: as SequenceType has them.
        versions: its schema's versions, oldest first; rows are written under the last.
        segments: numbers of its live segments, in the order in which their entries apply.
        floor_s: behaviours with time_s below it are expired.
    """

    name: str
    cap: int | None
    ttl_s: int | None
    versions: tuple[HistorySchema, ...]
    segments: tuple[int, ...] = ()
    floor_s: int = NO_FLOOR_S

    @property
    def schema(self) -> HistorySchema:
        """The newest version."""
        return self.versions[-1]

    @property
    def kind(self) -> SequenceType:
        """As the caller describes it."""
        return SequenceType(self.name, self.schema, self.cap, self.ttl_s)


@dataclass(frozen=True)
class ClosedLog:
    """A log that is written no more but still needed: its records end at byte `end`."""

    number: int
    end: int


@dataclass(frozen=True)
class Manifest:
    """The live files.

    Args:
        generation: grows by one with every manifest.
        sequences: the store's sequences; a record of the log names one by its place here.
        closed_logs: logs before the live one, oldest first.
        log: number of the live log.
        sequence: the last append that the segments hold; the logs' records follow it.
        next_file: number no file has had yet.
    """

    generation: int
    sequences: tuple[SequenceState, ...]
    closed_logs: tuple[ClosedLog, ...]
    log: int
    sequence: int
    next_file: int

    def files(self) -> set[str]:
        """Names of all files it lists."""
        logs = {log_name(self.log), *(log_name(log.number) for log in self.closed_logs)}
        segments = {segment_name(s.name, number) for s in self.sequences for number in s.segments}
        return logs | segments

    def with_sequence(self, place: int, **changes: Any) -> "Manifest":
        """The same, but for some fields of one sequence."""
        sequences = list(self.sequences)
        sequences[place] = replace(sequences[place], **changes)
        return replace(self, sequences=tuple(sequences))


def segment_name(sequence: str, number: int) -> str:
    """File name of a segment."""
    return f"{sequence}-{number:08d}.seg"


def log_name(number: int) -> str:
    """File name of a log."""
    return f"wal-{number:08d}.log"


def write_manifest(folder: Path, manifest: Manifest, own: Own) -> None:
    """Replace the manifest durably. Raises as files.replace_file."""
    body = json.dumps({"format": FORMAT, **_described(manifest)}).encode()
    replace_file(folder / NAME, body + b"\n%016x\n" % hash64(body), "manifest", own)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None in a folder without one.

    Raises:
        DamagedDataError: it fails its checksum.
        StoreError: it has another format.
    """
    path = folder / NAME
    try:
        data = read_file(path)
    except FileNotFoundError:
        return None
    return parse_manifest(path, data)


def parse_manifest(path: Path, data: bytes) -> Manifest:
    """The manifest in these bytes; see read_manifest."""
    found = manifest_fields(path, data)
    if found["format"] != FORMAT:
        raise StoreError(
            f"{path} has format {found['format']}: expected {FORMAT}; was it made by a later version?"
        )
    try:
        return Manifest(
            _count(found["generation"]),
            tuple(_sequence(described) for described in found["sequences"]),
            tuple(ClosedLog(_count(log["number"]), _count(log["end"])) for log in found["closed_logs"]),
            _count(found["log"]),
            _count(found["sequence"]),
            _count(found["next_file"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedDataError(f"{path} is no manifest ({error!r}); restore it from backup") from error


def manifest_fields(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON of a manifest. Raises DamagedDataError."""
    body, _, checksum = data.partition(b"\n")
    if checksum != b"%016x\n" % hash64(body):
        raise DamagedDataError(f"{path}: its checksum does not match; restore it from backup")
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise DamagedDataError(f"{path} is no manifest ({error}); restore it from backup") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("format"), int):
        raise DamagedDataError(f"{path} is no manifest: it names no format; restore it from backup")
    return fields


def _described(manifest: Manifest) -> dict[str, Any]:
    fields = {name: getattr(manifest, name) for name in ("generation", "log", "sequence", "next_file")}
    sequences = []
    for state in manifest.sequences:
        described = {name: getattr(state, name) for name in ("name", "cap", "ttl_s", "segments", "floor_s")}
        sequences.append({**described, "versions": [version.to_dict() for version in state.versions]})
    closed = [asdict(log) for log in manifest.closed_logs]
    return {
        **fields,
        "sequences": sequences,
        "closed_logs": closed,
    }


def _sequence(described: Mapping[str, Any]) -> SequenceState:
    versions = tuple(HistorySchema.from_dict(version) for version in described["versions"])
    if not versions:
        raise ValueError("a sequence without a schema")
    cap, ttl_s, floor_s = described["cap"], described["ttl_s"], described["floor_s"]
    if type(floor_s) is not int or not NO_FLOOR_S <= floor_s < -NO_FLOOR_S:
        raise ValueError(f"floor_s={floor_s!r}")
    # Its checks are a sequence's: the name is part of file names.
    kind = SequenceType(
        described["name"],
        versions[-1],
        None if cap is None else _count(cap),
        None if ttl_s is None else _count(ttl_s),
    )
    segments = tuple(map(_count, described["segments"]))
    return SequenceState(kind.name, kind.cap, kind.ttl_s, versions, segments, floor_s)


def _count(value: object) -> int:
    """A number of the manifest. Raises ValueError for anything else, however it was signed."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} where a number is expected")
    return value
