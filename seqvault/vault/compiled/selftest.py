"""Whether compiled code can be trusted on this machine: it is compared with its numpy twin on a few rows.

A wrong compiler, a damaged cache of kernels or a library that is not what it seems shows here, before a byte
is written. It says nothing about rare inputs; those are the tests' work.
"""

import functools
import logging
from collections.abc import Callable

import numpy as np

from seqvault.schema import BEHAVIOURS, Array
from seqvault.vault.log.record import PlainRecords, Record, Records

__all__ = ["encoder_trusted", "trusted"]

_log = logging.getLogger(__name__)
_ROWS = 700
_CODECS = ("packed", "zstd")
_BLOCKS = np.array([0, 300, 301, _ROWS])


@functools.cache
def trusted() -> bool:
    """Whether numba and libzstd are there and read blocks and records as written; asked once per process."""
    return _holds("reading", lambda: _blocks_decode() and _records_agree())


@functools.cache
def encoder_trusted() -> bool:
    """Whether blocks are encoded as the twin does; asked once per process that writes blocks."""
    return _holds("encoding", _blocks_encode)


def _holds(what: str, test: Callable[[], bool]) -> bool:
    try:
        if test():
            return True
        wrong = "other results"
    except Exception as error:  # whatever a broken compiler or library raises
        wrong = f"{type(error).__name__}: {error}"
    _log.warning(
        "compiled %s differs from plain numpy (%s): numpy serves instead, slower. Remove %s, or install "
        "numba and zstandard again.",
        what,
        wrong,
        _kept(),
    )
    return False


def _kept() -> str:
    try:
        from seqvault.vault.kernels.keep import kept_in
    except Exception as error:  # numba itself may be what is broken
        return f"the folder of compiled kernels ({type(error).__name__})"
    return str(kept_in())


def _columns() -> dict[str, Array]:
    """Rows that need every way of coding: repeats, runs, outliers, the ends of each range."""
    i = np.arange(_ROWS, dtype="u8")
    mixed = (i * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)
    limits = {c.name: np.iinfo(c.dtype) for c in BEHAVIOURS.columns}
    columns = {
        "time_s": np.cumsum(mixed % 60 + (i % 97 == 0) * 100_000).astype("i8"),
        "item_id": mixed % 150 * 977 + (i % 50 == 0) * mixed,
        "category": mixed % 150 // 7,
        "action": (mixed % 11 == 0) + (i % 3 == 0),
        "scene": i // 100,
        "dwell_s": np.where(mixed % 40 == 0, mixed % 60_000, mixed % 90),
    }
    columns = {name: values.astype(BEHAVIOURS.dtype(name)) for name, values in columns.items()}
    for name in ("item_id", "dwell_s"):
        columns[name][[5, 6]] = limits[name].min, limits[name].max
    return columns


def _encoded(encode: Callable[..., tuple[Array, Array]], codec: str) -> tuple[Array, Array]:
    users, starts = np.array([1, 2, 1 << 63], "u8"), np.array([0, 7, 9], "u8")
    return encode(BEHAVIOURS, users, starts, _BLOCKS, _columns(), codec=codec)


def _blocks_encode() -> bool:
    from seqvault.vault.compiled.encode import encode_blocks
    from seqvault.vault.format.block import encode_blocks_plain

    made = ((_encoded(encode_blocks, codec), _encoded(encode_blocks_plain, codec)) for codec in _CODECS)
    return all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in made)


def _blocks_decode() -> bool:
    from seqvault.vault.format.block import encode_blocks_plain

    return all(_decodes(*_encoded(encode_blocks_plain, codec), _columns()) for codec in _CODECS)


def _decodes(data: Array, offsets: Array, columns: dict[str, Array]) -> bool:
    from seqvault.vault.compiled.scratch import Scratch
    from seqvault.vault.kernels.decode import decode_rows

    scratch = Scratch()
    widths = [BEHAVIOURS.dtype(name).itemsize for name in BEHAVIOURS.names]
    places = np.cumsum([0, *(8 * _ROWS for _ in widths)])
    wanted = np.array([(i, width, places[i], 0) for i, width in enumerate(widths)], "u8")
    out = np.zeros(places[-1], "u1")
    for k in range(len(_BLOCKS) - 1):
        first, last = int(_BLOCKS[k]), int(_BLOCKS[k + 1])
        at, size = int(offsets[k]), int(offsets[k + 1] - offsets[k])
        if decode_rows(data, at, size, 0, last - first, wanted, out, first, scratch.work, scratch.context):
            return False
    decoded = (out[places[i] :][: _ROWS * width] for i, width in enumerate(widths))
    return all(
        np.array_equal(part.view(BEHAVIOURS.dtype(name)), columns[name])
        for name, part in zip(BEHAVIOURS.names, decoded, strict=True)
    )


def _records_agree() -> bool:
    from seqvault.vault.compiled.compiled_records import CompiledRecords

    columns = list(_columns().values())
    compiled, plain = (_record(records, columns) for records in (CompiledRecords(), PlainRecords()))
    wanted = [(i, values.dtype) for i, values in enumerate(columns)]
    found = CompiledRecords().scan(plain, 0, len(plain), 3)
    read = CompiledRecords().read(plain, found, wanted)
    return np.array_equal(compiled, plain) and all(map(np.array_equal, read, columns))


def _record(records: Records, columns: list[Array]) -> Array:
    data, size = records.encode(columns)
    records.finish(data, size, Record(1, _ROWS, len(columns)).head(4, 3), 3)
    return data[:size]
