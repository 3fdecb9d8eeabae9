"""Byte planes through zstd, level 1, by the `zstandard` package: the plain twin of kernels/zstd.py.

Frames are written without magic number and content size: a block knows both, and in blocks of a few hundred rows
their bytes show.
"""

import threading

import zstandard

from seqvault.vault.damage import BAD_ZSTD, BlockDamage

__all__ = ["LEVEL", "PlainPlanes"]

LEVEL = 1


class PlainPlanes:
    """Compresses and decompresses byte planes of one store; safe to share between threads."""

    def __init__(self) -> None:
        self._local = threading.local()

    def compress(self, kind: int, plane: bytes) -> bytes:
        """The plane as a zstd frame."""
        return self._compressor().compress(plane)

    def decompress(self, kind: int, frame: bytes, count: int) -> bytes:
        """The plane again. Raises BlockDamage unless the frame holds `count` bytes."""
        try:
            # A damaged frame may claim any size, and the package would allocate it.
            claimed = zstandard.get_frame_parameters(frame, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
            if claimed.content_size not in (count, zstandard.CONTENTSIZE_UNKNOWN):
                raise BlockDamage(BAD_ZSTD)
            plane = self._decompressor().decompress(frame, max_output_size=count, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise BlockDamage(BAD_ZSTD) from error
        if len(plane) != count:
            raise BlockDamage(BAD_ZSTD)
        return plane

    def _compressor(self) -> zstandard.ZstdCompressor:
        if not hasattr(self._local, "compressor"):
            parameters = zstandard.ZstdCompressionParameters(
                compression_level=LEVEL,
                format=zstandard.FORMAT_ZSTD1_MAGICLESS,
                write_content_size=False,
                write_checksum=False,
                write_dict_id=False,
            )
            self._local.compressor = zstandard.ZstdCompressor(compression_params=parameters)
        return self._local.compressor  # type: ignore[no-any-return]

    def _decompressor(self) -> zstandard.ZstdDecompressor:
        if not hasattr(self._local, "decompressor"):
            self._local.decompressor = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
        return self._local.decompressor  # type: ignore[no-any-return]
