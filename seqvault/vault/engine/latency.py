"""How long a store's operations took, and how many failed: counted in this process since it was opened."""

from collections.abc import Callable
from time import perf_counter_ns
from typing import TypeVar

__all__ = ["Latency"]

_Answer = TypeVar("_Answer")
# Buckets: below 1 µs, and each of twice the last up to 17 s; one more for what took longer.
_FIRST, _LAST = 10, 34


class Latency:
    """A histogram of one kind of operation, in powers of two of a nanosecond, without a lock.

    CPython changes no thread within `x += 1`, so that threads lose no count to each other.

    Attributes:
        total_ns: of all that ended well.
        errors: operations that raised a StoreError other than for their arguments.
    """

    def __init__(self) -> None:
        self._counts = [0] * 65
        self.total_ns = 0
        self.errors = 0

    def note(self, begun_ns: int) -> None:
        """An operation that began at `begun_ns` of perf_counter_ns has ended well."""
        took_ns = perf_counter_ns() - begun_ns
        self._counts[took_ns.bit_length()] += 1
        self.total_ns += took_ns

    def timed(self, work: Callable[..., _Answer], *args: object) -> _Answer:
        """What `work` returns, its time noted. Raises as it does."""
        begun_ns = perf_counter_ns()
        answer = work(*args)
        self.note(begun_ns)
        return answer

    def buckets(self) -> list[tuple[float, int]]:
        """(upper bound in seconds, operations that took no longer), ascending; the last bound is infinite."""
        counts = list(self._counts)
        bounds = [(1 << bits) * 1e-9 for bits in range(_FIRST, _LAST + 1)]
        within = [sum(counts[: bits + 1]) for bits in range(_FIRST, _LAST + 1)]
        return [*zip(bounds, within, strict=True), (float("inf"), sum(counts))]
