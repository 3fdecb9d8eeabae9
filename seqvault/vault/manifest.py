"""The manifest: which segments and which log make up the store. Replaced as a whole, atomically.

Two lines of text: the JSON, and its CRC-32 in hexadecimal. Files it does not name are leftovers of a crash.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from seqvault.errors import DamagedDataError, SchemaError
from seqvault.schema import HistorySchema
from seqvault.vault.files import replace_file

__all__ = ["Manifest", "read_manifest", "write_manifest"]

NAME = "MANIFEST"
_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The live files.

    Args:
        segments: numbers of the live segments, in the order they were sealed.
        wal: number of the live log.
        sequence: the last append that the segments hold; the log's records follow it.
        next_segment: number no segment has had yet.
    """

    segments: tuple[int, ...]
    wal: int
    sequence: int
    next_segment: int


def write_manifest(folder: Path, schema: HistorySchema, manifest: Manifest) -> None:
    """Replace the manifest durably. Raises as files.replace_file."""
    body = json.dumps({"format": _FORMAT, "schema": schema.to_dict(), **vars(manifest)}).encode()
    replace_file(folder / NAME, body + b"\n%08x\n" % zlib.crc32(body), "manifest")


def read_manifest(folder: Path, schema: HistorySchema) -> Manifest | None:
    """The manifest, or None in a folder without one.

    Raises DamagedDataError for a damaged one, SchemaError when the store was made with another schema.
    """
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    body, _, checksum = data.partition(b"\n")
    if checksum != b"%08x\n" % zlib.crc32(body):
        raise DamagedDataError(f"{path}: its checksum does not match; restore it from backup")
    found = json.loads(body)
    if found["format"] != _FORMAT:
        raise DamagedDataError(f"{path} has format {found['format']}: expected {_FORMAT}")
    if HistorySchema.from_dict(found["schema"]) != schema:
        raise SchemaError(f"{folder} was made with schema {found['schema']}: expected {schema.to_dict()}")
    return Manifest(tuple(found["segments"]), found["wal"], found["sequence"], found["next_segment"])
