"""A prepared world in a file that processes map: one copy in memory, whoever reads it. Start at `share`.

    file: the pickled object | its arrays, each at a multiple of 64 bytes

Pages are memory as long as somebody has room for them; they can be read again from the disk.
"""

from __future__ import annotations

import logging
import mmap
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulator.inputs.prepare import Prepared, keep, prepare
from simulator.inputs.worlds import WorldSource

FILE = "inputs"
_ALIGNMENT = 64
_log = logging.getLogger(__name__)
_latest: list[Shared] = []  # what this process wrote last


@dataclass(frozen=True)
class Shared:
    """Sent to other processes, each of which calls it once; `prepare` finds the world there from then on.

    Attributes:
        source: of the world.
        path: the file.
        spans: (start, bytes) of the pickled object and of its arrays.
    """

    source: WorldSource
    path: Path
    spans: tuple[tuple[int, int], ...]

    def __call__(self) -> None:
        """Map it."""
        try:
            with self.path.open("rb") as file:
                # Whoever writes to an array has a copy of that page: nobody else sees it.
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        except FileNotFoundError:
            # Another machine's view of the folder may come late: this process makes a world of its own.
            return
        whole, *arrays = (mapped[start : start + size] for start, size in self.spans)
        found: Prepared = pickle.loads(whole, buffers=arrays)
        keep(self.source, found)


def share(source: WorldSource, folder: Path) -> Callable[[], None]:
    """Write the world of a source, and map it here, too.

    Args:
        folder: where; that of another world is removed there.

    Returns:
        What other processes call. On a full disk it does nothing, and each makes a world of its own.
    """
    path = folder / FILE
    for shared in _latest:
        if (shared.source, shared.path) == (source, path) and path.exists():
            return shared
    path.unlink(missing_ok=True)  # mapped, it is there as long as it is used
    _ = prepare(source).digest  # once for all
    arrays: list[pickle.PickleBuffer] = []
    whole = pickle.dumps(prepare(source), protocol=5, buffer_callback=arrays.append)
    spans = []
    try:
        with path.open("wb") as file:
            for raw in (memoryview(whole), *(array.raw() for array in arrays)):
                file.write(bytes(-file.tell() % _ALIGNMENT))
                spans.append((file.tell(), raw.nbytes))
                file.write(raw)
    except OSError as problem:
        _log.warning("%s cannot be written (%s): each process makes a world of its own.", path, problem)
        path.unlink(missing_ok=True)
        return _nothing
    shared = Shared(source, path, tuple(spans))
    shared()
    _latest[:] = [shared]
    return shared


def _nothing() -> None:
    """For processes that share nothing."""
