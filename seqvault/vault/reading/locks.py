"""The lock between one process's readers and its writer.

A compiled read takes the readers' side by itself, without the GIL: it looks at index and tails, copies what
it needs and lets go, and then fetches and decodes blocks for as long as it likes. So an exclusive section
waits microseconds, whatever is read; files that a read may still use are closed after `drain`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import numpy as np

__all__ = ["ReadersWriterLock"]

_WAIT_S = 50e-6


class ReadersWriterLock:
    """Shared by the readers of one process and its writer.

    Args:
        plain: for plain readers alone, who hold `shared()` while they read; needs no compiled code.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._kernel = None if plain else _kernel()
        # Behind a cache line of their own; what they mean stands in kernels/reads/locks.py.
        self._words = np.zeros(64, "u8")
        self.address = -(-self._words.ctypes.data // 64) * 64
        self._first = (self.address - self._words.ctypes.data) // 8
        self._mutex = threading.RLock()
        self._exclusive = False
        self._draining = threading.Lock()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else looks at index and tails within; to be short. May be nested."""
        with self._mutex:
            if self._kernel is None or self._exclusive:
                yield
                return
            try:
                self._exclusive = True
                self._kernel.seize(self.address, self._kernel.WRITER)
                while not self._kernel.quiet(self.address, self._kernel.WRITER):
                    time.sleep(_WAIT_S)
                yield
            finally:
                self._exclusive = False
                # Not where an interrupt came before it was seized.
                if self._words[self._first] >= self._kernel.WRITER:
                    self._kernel.seize(self.address, self._kernel.WRITER)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For Python code that looks at index and tails: nothing changes within. One thread at a time."""
        with self._mutex:
            yield

    def held(self) -> bool:
        """Whether this thread is in a section of either kind: then another can enter none."""
        held: bool = self._mutex._is_owned()  # type: ignore[attr-defined]  # as threading.Condition asks it
        return held

    def wait(self) -> None:
        """Return once the exclusive section there is now has ended."""
        with self._mutex:
            assert not self._exclusive, "a read within its own thread's exclusive section would never end"

    def drain(self) -> None:
        """Wait for every read that began before; not within `exclusive` or `shared`.

        A slot that was taken out of index and reader in an exclusive section is used by nobody afterwards.
        """
        with self._draining:
            if self._kernel is None:
                self.wait()
                return
            # Twice: a read may note the epoch, pause, and count itself into it after it has passed.
            for _ in range(2):
                parity = self._kernel.advance(self.address)
                pins = self.address + 8 * (self._kernel.PINS + 8 * parity)
                while not self._kernel.quiet(pins, 0):
                    time.sleep(_WAIT_S)


def _kernel() -> ModuleType:
    from seqvault.vault.kernels.reads import locks

    return locks
