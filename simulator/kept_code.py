"""Compiled code that is kept on disk, and is always that of the sources as they are.

Numba keeps it beside the sources, or else in the user's folder of caches; where neither can be written, as in
a read-only installation of a user without a home, it is kept among the temporary files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from simulator.scratch import own_folder


def _find_a_place() -> None:
    """See the module. Must be called before anything is decorated: numba looks for a place there."""
    try:
        numba.njit(cache=True)(_find_a_place)
    except RuntimeError:  # no place that can be written
        # In the environment, for worker processes too.
        os.environ["NUMBA_CACHE_DIR"] = str(own_folder() / "kernels")
        config: Any = numba.config
        config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


_find_a_place()


def njit_kept(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit`, with the code kept. What calls functions of other files needs `jit_kept`."""
    decorator: Callable[[Callable[..., Any]], Any] = numba.njit(cache=True, **options)
    return decorator


def jit_kept(function: Callable[..., Any]) -> Any:
    """Compile what is called from Python, to run without Python's lock, and keep the code of all it calls.

    Kept code is of the folder's sources as they are: numba by itself looks at the function's own file alone,
    and would go on with what another file's function or constant was before it was changed.
    """
    compiled: Any = numba.njit(cache=True, nogil=True)(function)
    sources = sorted(Path(function.__code__.co_filename).parent.glob("*.py"))
    stamp = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    compiled._cache._cache_file._source_stamp = stamp
    return compiled
