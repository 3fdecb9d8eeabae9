"""Records through the compiled kernels; importing this imports numba."""

from collections.abc import Sequence

import numpy as np

from seqvault.schema import Array
from seqvault.vault.kernels.record import encode_columns, finish_record, read_columns, scan_records
from seqvault.vault.log.record import FOUND, room

__all__ = ["CompiledRecords"]

_SCANNED_AT_ONCE = 4096
_WORDS = FOUND.itemsize // 8


class CompiledRecords:
    """Records, one kernel call each; see record.Records."""

    def encode(self, columns: Sequence[Array]) -> tuple[Array, int]:
        """See Records.encode."""
        data = np.empty(room(columns), "u1")
        described = np.array(
            [(values.ctypes.data, values.itemsize, values.dtype.kind == "i") for values in columns], "u8"
        )
        rows = len(columns[0])
        return data, encode_columns(data, described, rows, np.empty(rows, "u8"))

    def finish(self, data: Array, size: int, head: Array, salt: int) -> None:
        """See Records.finish."""
        finish_record(data, size, head, salt)

    def scan(self, data: Array, at: int, end: int, salt: int) -> Array:
        """See Records.scan."""
        parts: list[Array] = []
        while True:
            found = np.empty((_SCANNED_AT_ONCE, _WORDS), "u8")
            count = scan_records(data, at, end, salt, found)
            parts.append(found[:count].reshape(-1).view(FOUND))
            if count < _SCANNED_AT_ONCE:
                return np.concatenate(parts)
            at = int(parts[-1]["place"][-1]) + int(parts[-1]["size"][-1])

    def read(
        self, data: Array, found: Array, wanted: Sequence[tuple[int, np.dtype[np.generic]]]
    ) -> list[Array]:
        """See Records.read."""
        rows = int(found["rows"].sum(dtype="u8"))
        columns = [np.empty(rows, dtype) for _, dtype in wanted]
        described = np.array(
            [
                (place, values.ctypes.data, values.itemsize)
                for (place, _), values in zip(wanted, columns, strict=True)
            ],
            "u8",
        )
        words = np.ascontiguousarray(found).view("u8").reshape(-1, _WORDS)
        read_columns(data, words, described.reshape(-1, 3))
        return columns
