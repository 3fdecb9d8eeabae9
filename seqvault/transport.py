"""Request frames: every history of a request in one ZSTD frame, for the way from store to scorer.

A frame decompresses to

    +---------+--------+-----------+------------+--------------+--------------------+---------------
    | "SVT1"  | U: u32 | C: u16    | user ids   | offsets      | C x (name, dtype)  | C columns of
    | 4 bytes |        | , 2 zeros | U x u64    | (U+1) x i64  | length u8 + text   | N values each
    +---------+--------+-----------+------------+--------------+--------------------+---------------

little endian, N = offsets[U]. The frame carries ZSTD's XXH64 content checksum, and its content size. The
decoder checks every length before it believes it: a damaged frame ends in a FrameError, never in wrong rows.
"""

import struct
import threading

import numpy as np
import zstandard

from seqvault.errors import DamagedDataError
from seqvault.schema import Array
from seqvault.store import HistoryBatch

__all__ = ["FrameError", "pack", "unpack"]

MAX_PAYLOAD_BYTES = 1 << 32

_MAGIC = b"SVT1"
_HEAD = struct.Struct("<4sIHxx")
# Compressing contexts are costly to make and not thread-safe: each thread keeps one a level.
_contexts = threading.local()


class FrameError(DamagedDataError):
    """The bytes are no request frame, or a damaged one."""


def pack(batch: HistoryBatch, *, level: int = 1) -> bytes:
    """One frame with all histories of a batch.

    Args:
        batch: the histories; any integer columns.
        level: ZSTD level; above 3 the link must be slow for it to pay.

    Source: LASER, arXiv:2602.11562 (all sequences of a request compressed into one payload).
    """
    parts = [
        _HEAD.pack(_MAGIC, len(batch.user_ids), len(batch.columns)),
        np.ascontiguousarray(batch.user_ids, "<u8").tobytes(),
        np.ascontiguousarray(batch.offsets, "<i8").tobytes(),
    ]
    for name, values in batch.columns.items():
        for text in (name.encode(), values.dtype.newbyteorder("<").str[1:].encode()):
            parts += [bytes([len(text)]), text]
    # Column after column, not row after row: bytes that are alike compress when they lie together.
    parts += [np.ascontiguousarray(values).tobytes() for values in batch.columns.values()]
    return _compressor(level).compress(b"".join(parts))


def unpack(frame: bytes) -> HistoryBatch:
    """The batch `pack` made the frame from; its arrays are read-only views of one buffer.

    Raises:
        FrameError: the frame is truncated, damaged or of another format; ask for it again.
    """
    try:
        described = zstandard.get_frame_parameters(frame)
        # Without the flag ZSTD would not verify, and without the limit a damaged size asks for exabytes.
        if not described.has_checksum or described.content_size > MAX_PAYLOAD_BYTES:
            raise zstandard.ZstdError(f"checksum {described.has_checksum}, {described.content_size} bytes")
        payload = _decompressor().decompress(frame, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise FrameError(
            f"frame of {len(frame)} bytes does not decompress ({error}): send it again"
        ) from error
    try:
        return _parse(payload)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise FrameError(
            f"frame of {len(frame)} bytes, {len(payload)} decompressed, is not a request frame ({error}): "
            "was it made by another version?"
        ) from error


def _parse(payload: bytes) -> HistoryBatch:
    magic, users, count = _HEAD.unpack_from(payload)
    if magic != _MAGIC:
        raise ValueError(f"begins with {magic!r}, expected {_MAGIC!r}")
    at = _HEAD.size
    user_ids = np.frombuffer(payload, "<u8", users, at)
    offsets = np.frombuffer(payload, "<i8", users + 1, at + 8 * users)
    at += 16 * users + 8
    if offsets[0] != 0 or np.any(offsets[1:] < offsets[:-1]):
        raise ValueError("offsets fall")
    rows = int(offsets[-1])
    described: list[tuple[str, np.dtype[np.generic]]] = []
    for _ in range(count):
        name, at = _text(payload, at)
        dtype, at = _text(payload, at)
        described.append((name, np.dtype("<" + dtype)))
    columns: dict[str, Array] = {}
    for name, kind in described:
        columns[name] = np.frombuffer(payload, kind, rows, at)
        at += rows * kind.itemsize
    if at != len(payload):
        raise ValueError(f"{len(payload) - at} bytes left over")
    return HistoryBatch(user_ids, offsets, columns)


def _text(payload: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + payload[at]
    if end > len(payload):
        raise ValueError("ends inside a name")
    return payload[at + 1 : end].decode(), end


def _compressor(level: int) -> zstandard.ZstdCompressor:
    made: dict[int, zstandard.ZstdCompressor] | None = getattr(_contexts, "compressors", None)
    if made is None:
        made = _contexts.compressors = {}
    if level not in made:
        made[level] = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
    return made[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    made: zstandard.ZstdDecompressor | None = getattr(_contexts, "decompressor", None)
    if made is None:
        made = _contexts.decompressor = zstandard.ZstdDecompressor()
    return made
