"""Byte planes through zstd, level 1, by the `zstandard` package: the plain twin of kernels/zstd.py.

A byte plane is numbers without order: what helps is the entropy coder, and short matches found by chance only
cost. Hence matches of seven bytes or more and a small table to find them. Frames are written without magic
number and content size: a block knows both, and in blocks of a few hundred rows their bytes show.
"""

import threading

import zstandard

from seqvault.vault.format.damage import BAD_ZSTD, BlockDamage

__all__ = ["HASH_LOG", "LEVEL", "MIN_MATCH", "PLAIN_HEAD", "PlainPlanes"]

LEVEL, MIN_MATCH, HASH_LOG = 1, 7, 6
PLAIN_HEAD = b"\0"


class PlainPlanes:
    """Compresses and decompresses byte planes; safe to share between threads."""

    def __init__(self) -> None:
        self._local = threading.local()

    def compress(self, plane: bytes) -> bytes:
        """The plane as a zstd frame."""
        made: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if made is None:
            parameters = zstandard.ZstdCompressionParameters(
                compression_level=LEVEL,
                min_match=MIN_MATCH,
                hash_log=HASH_LOG,
                format=zstandard.FORMAT_ZSTD1_MAGICLESS,
                write_content_size=False,
                write_checksum=False,
                write_dict_id=False,
            )
            made = self._local.compressor = zstandard.ZstdCompressor(compression_params=parameters)
        return made.compress(plane)

    def decompress(self, frame: bytes, count: int) -> bytes:
        """The plane again. Raises BlockDamage unless the frame holds `count` bytes."""
        # No content size, no dictionary's id, no checksum: the header of every frame we write. A frame that
        # promises gigabytes would have them allocated.
        if frame[:1] != PLAIN_HEAD:
            raise BlockDamage(BAD_ZSTD)
        made: zstandard.ZstdDecompressor | None = getattr(self._local, "decompressor", None)
        if made is None:
            made = self._local.decompressor = zstandard.ZstdDecompressor(
                format=zstandard.FORMAT_ZSTD1_MAGICLESS
            )
        try:
            plane = made.decompress(frame, max_output_size=count, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise BlockDamage(BAD_ZSTD) from error
        if len(plane) != count:
            raise BlockDamage(BAD_ZSTD)
        return plane
