"""Byte planes through zstd, level 1, by the `zstandard` package: the plain twin of kernels/zstd.py.

A byte plane is numbers without order: what helps is the entropy coder, and short matches found by chance only
cost. Hence matches of seven bytes or more and a small table to find them. Frames are written without magic
number and content size: a block knows both, and in blocks of a few hundred rows their bytes show.
"""

import threading
from typing import Any

import zstandard

from seqvault.vault.format.damage import BAD_ZSTD, BlockDamage

__all__ = ["HASH_LOG", "LEVEL", "MIN_MATCH", "PLAIN_HEAD", "PlainPlanes"]

LEVEL, MIN_MATCH, HASH_LOG = 1, 7, 6
PLAIN_HEAD = b"\0"


class PlainPlanes:
    """Compresses and decompresses byte planes; safe to share between threads.

    Args:
        trained: a zstd dictionary for each kind of stream, b"" for none.
    """

    def __init__(self, trained: tuple[bytes, ...] = ()) -> None:
        self._trained = trained
        self._local = threading.local()

    def trained(self, kind: int) -> bool:
        """Whether there is a dictionary for this kind of stream."""
        return kind < len(self._trained) and self._trained[kind] != b""

    def compress(self, kind: int, plane: bytes) -> bytes:
        """The plane as a zstd frame."""
        made = self._of_thread("compressors")
        kind = kind if self.trained(kind) else -1
        if kind not in made:
            parameters = zstandard.ZstdCompressionParameters(
                compression_level=LEVEL,
                min_match=MIN_MATCH,
                hash_log=HASH_LOG,
                format=zstandard.FORMAT_ZSTD1_MAGICLESS,
                write_content_size=False,
                write_checksum=False,
                write_dict_id=False,
            )
            made[kind] = zstandard.ZstdCompressor(
                dict_data=self._dictionary(kind), compression_params=parameters
            )
        return made[kind].compress(plane)  # type: ignore[no-any-return]

    def decompress(self, kind: int, frame: bytes, count: int) -> bytes:
        """The plane again. Raises BlockDamage unless the frame holds `count` bytes."""
        # No content size, no dictionary's id, no checksum: the header of every frame we write. A frame that
        # promises gigabytes would have them allocated.
        if frame[:1] != PLAIN_HEAD:
            raise BlockDamage(BAD_ZSTD)
        made = self._of_thread("decompressors")
        kind = kind if self.trained(kind) else -1
        if kind not in made:
            made[kind] = zstandard.ZstdDecompressor(
                dict_data=self._dictionary(kind), format=zstandard.FORMAT_ZSTD1_MAGICLESS
            )
        try:
            plane: bytes = made[kind].decompress(frame, max_output_size=count, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise BlockDamage(BAD_ZSTD) from error
        if len(plane) != count:
            raise BlockDamage(BAD_ZSTD)
        return plane

    def _of_thread(self, what: str) -> dict[int, Any]:
        made: dict[int, Any] = self._local.__dict__.setdefault(what, {})
        return made

    def _dictionary(self, kind: int) -> zstandard.ZstdCompressionDict | None:
        return zstandard.ZstdCompressionDict(self._trained[kind]) if kind >= 0 else None
