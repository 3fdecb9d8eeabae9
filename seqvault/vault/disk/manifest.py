"""The manifest: which files make up the store, and what no file of rows says. Replaced whole, atomically.

Two lines of text: the JSON, and its hash64 in hexadecimal. `generation` grows with every replacement. Files
it does not name are leftovers of a crash, or of a writer that is about to name or to remove them. Files are
named with their identities (identity.py), which a manifest of format 2 lacks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqvault.errors import DamagedDataError, StoreError
from seqvault.schema import HistorySchema, SequenceType
from seqvault.vault.disk.files import Own, read_file, replace_file
from seqvault.vault.disk.identity import LogFile, SegmentFile
from seqvault.vault.format.hash64 import hash64

__all__ = [
    "FORMAT",
    "NAME",
    "Manifest",
    "SequenceState",
    "log_name",
    "read_manifest",
    "segment_name",
    "write_manifest",
]

NAME = "MANIFEST"
FORMAT = 4
_READABLE = (2, 3, 4)
# The oldest time there is: nothing is older than this floor.
NO_FLOOR_S = -(1 << 63)


@dataclass(frozen=True)
class SequenceState:
    """One sequence of the store.

    Args:
        name, cap, ttl_s: as SequenceType has them.
        versions: its schema's versions, oldest first; rows are written under the last.
        segments: its live segments, in the order in which their entries apply.
        floor_s: behaviours with time_s below it are expired.
    """

    name: str
    cap: int | None
    ttl_s: int | None
    versions: tuple[HistorySchema, ...]
    segments: tuple[SegmentFile, ...] = ()
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
class Manifest:
    """The live files.

    Args:
        store: the store's identity; 0 in a manifest of format 2.
        generation: grows by one with every manifest.
        sequences: the store's sequences; a record of the log names one by its place here.
        closed_logs: logs before the live one, oldest first: written no more but still needed.
        log: the live log.
        sequence: the last append that the segments hold; the logs' records follow it.
        next_file: number no file has had yet.
    """

    store: int
    generation: int
    sequences: tuple[SequenceState, ...]
    closed_logs: tuple[LogFile, ...]
    log: LogFile
    sequence: int
    next_file: int

    def files(self) -> set[str]:
        """Names of all files it lists."""
        logs = {log_name(log.number) for log in self.logs}
        segments = {segment_name(s.name, file.number) for s in self.sequences for file in s.segments}
        return logs | segments

    @property
    def logs(self) -> tuple[LogFile, ...]:
        """All logs, oldest first."""
        return (*self.closed_logs, self.log)

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
        StoreError: it has a format of a later version.
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
    if found["format"] not in _READABLE:
        raise StoreError(
            f"{path} has format {found['format']}: expected {FORMAT}; was it made by a later version?"
        )
    try:
        if found["format"] == 2:
            found = _identified(found)
        return Manifest(
            _hash(found["store"]),
            _count(found["generation"]),
            tuple(_sequence(described) for described in found["sequences"]),
            tuple(
                LogFile(_count(log["number"]), _hash(log["id"]), _count(log["end"]))
                for log in found["closed_logs"]
            ),
            LogFile(_count(found["log"]["number"]), _hash(found["log"]["id"])),
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


def _identified(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest of format 2 says, in the form of 3: its files have no identities."""
    without = f"{0:016x}"
    sequences = [
        {**sequence, "segments": [{"number": number, "id": without} for number in sequence["segments"]]}
        for sequence in fields["sequences"]
    ]
    return {
        **fields,
        "store": without,
        "sequences": sequences,
        "closed_logs": [{**log, "id": without} for log in fields["closed_logs"]],
        "log": {"number": fields["log"], "id": without},
    }


def _described(manifest: Manifest) -> dict[str, Any]:
    sequences = []
    for state in manifest.sequences:
        described = {name: getattr(state, name) for name in ("name", "cap", "ttl_s", "floor_s")}
        described["segments"] = [_of_file(file) for file in state.segments]
        sequences.append({**described, "versions": [version.to_dict() for version in state.versions]})
    return {
        "store": f"{manifest.store:016x}",
        **{name: getattr(manifest, name) for name in ("generation", "sequence", "next_file")},
        "log": _of_file(manifest.log),
        "sequences": sequences,
        "closed_logs": [_of_file(log) for log in manifest.closed_logs],
    }


def _of_file(file: SegmentFile | LogFile) -> dict[str, Any]:
    """A file's fields; hashes and identities as 16 hexadecimal digits."""
    return {
        name: f"{value:016x}" if name in ("id", "footer") else value
        for name, value in file._asdict().items()
        if value is not None
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
    segments = tuple(map(_segment, described["segments"]))
    return SequenceState(kind.name, kind.cap, kind.ttl_s, versions, segments, floor_s)


def _segment(described: Mapping[str, Any]) -> SegmentFile:
    number, file_id = _count(described["number"]), _hash(described["id"])
    if "footer" not in described:
        return SegmentFile(number, file_id)
    return SegmentFile(number, file_id, _count(described["size"]), _hash(described["footer"]))


def _hash(value: object) -> int:
    """A number written as 16 hexadecimal digits. Raises ValueError for anything else."""
    if not isinstance(value, str) or len(value) != 16:
        raise ValueError(f"{value!r} where 16 hexadecimal digits are expected")
    return int(value, 16)


def _count(value: object) -> int:
    """A number of the manifest. Raises ValueError for anything else, however it was signed."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} where a number is expected")
    return value
