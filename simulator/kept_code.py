"""Compiled code that is kept on disk, and is always that of the sources as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


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
