"""Arrays that end, or begin, at memory nobody may touch: one byte too far is a segmentation fault."""

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
_LIBC = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """Memory of at most `size` bytes between two pages that fault."""

    def __init__(self, size: int) -> None:
        pages = -(-size // PAGE)
        self._memory = mmap.mmap(-1, (pages + 2) * PAGE)
        self._bytes = np.frombuffer(self._memory, "u1")
        address = self._bytes.ctypes.data
        for page in (address, address + (pages + 1) * PAGE):
            if _LIBC.mprotect(ctypes.c_void_p(page), PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self._first, self._behind = PAGE, (pages + 1) * PAGE

    def at_end(self, size: int) -> np.ndarray:
        """(size,) u1 whose last byte is the last one allowed."""
        return self._bytes[self._behind - size : self._behind]

    def at_start(self, size: int) -> np.ndarray:
        """(size,) u1 whose first byte is the first one allowed."""
        return self._bytes[self._first : self._first + size]
