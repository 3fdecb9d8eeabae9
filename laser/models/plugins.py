"""Which models are ours, and what is said when one of somebody else's fails."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from laser.errors import LaserError, PluginError
from laser.out_of_memory import is_out_of_memory

ENTRY_POINTS = "laser_ab.models"
BUILT_IN = {
    "base": "laser.models.base:Base",
    "din": "laser.models.din:Din",
    "sim": "laser.models.sim:Sim",
    "twin": "laser.models.twin:Twin",
    "transformer": "laser.models.transformer:Transformer",
    "hstu": "laser.models.hstu:Hstu",
    "laser": "laser.models.laser:Laser",
    "stca": "laser.models.stca:Stca",
    "vista": "laser.models.vista:Vista",
    "vql": "laser.models.vql:Vql",
    "counts": "laser.training.counts:Counts",
}

_FRAMES = 3  # the last ones of the traceback: where the plug-in failed


def is_plugin(kind: str) -> bool:
    """Whether a model of this kind is a user's own."""
    return kind not in BUILT_IN


@contextmanager
def plugin_code(kind: str, doing: str) -> Iterator[None]:
    """Name the plug-in in whatever its code raises. A built-in model's exceptions pass: they are our defects.

    Errors that say themselves what to do pass too, and so does a lack of memory. A plug-in that calls
    `sys.exit` has failed like any other: the run must not end as if it were done.

    Args:
        kind: the model's, as the experiment file has it.
        doing: what it was called for, as in "while scoring".

    Raises:
        PluginError: its code raised, with the last lines of the traceback.
    """
    try:
        yield
    except (LaserError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        if not is_plugin(kind) or is_out_of_memory(error):
            raise
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.line][-_FRAMES:]
        lines = [f"  {frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}" for frame in frames]
        raise PluginError(
            "\n".join(
                [
                    f"model plug-in {kind!r} raised {type(error).__name__} {doing}: {error}",
                    *lines,
                    "Correct the plug-in; docs/plugins.md says what it is called with.",
                ]
            )
        ) from error
