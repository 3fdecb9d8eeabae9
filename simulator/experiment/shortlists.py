"""An arm's short pages, kept: what can win of each request's page, whatever is left of budgets.

Worlds, paths of clicks and what-ifs go through the same pages again and again; a request's depend on its
candidates, the ladder step that answered it, and nothing else. Letters as in `simulator.market.pages`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.market.pages import I8, Pages
from simulator.market.short import SPARE
from simulator.scratch import blank, let_go

_NOBODY = -1


class Shortlists:
    """Of R requests, each as one step answered it: where that is another one, they are made anew.

    Args:
        requests: R.
        slots: S.
        pcvr: whether pages have a pCVR of their own.
    """

    def __init__(self, requests: int, slots: int, pcvr: bool) -> None:
        shape = (requests, slots + SPARE)
        kinds: dict[str, tuple[Any, tuple[int, ...]]] = {
            "candidates": (np.int32, shape),
            "pctr": (np.float64, shape),
            "p_click": (np.float64, (*shape, slots)),
            "p_convert": (np.float64, shape),
            "rest": (np.float64, (requests,)),
        }
        self._kept = blank(kinds | ({"pcvr": (np.float64, shape)} if pcvr else {}))
        self._step = np.full(requests, _NOBODY, np.int8)

    def lacking(self, rows: I8, step: NDArray[np.int8]) -> I8:
        """Places of the requests whose pages are not there as this step (n,) answers them."""
        return np.flatnonzero(self._step[rows] != step)

    def put(self, rows: I8, step: NDArray[np.int8], pages: Pages) -> None:
        """Keep some requests' short pages."""
        for name, column in self._kept.items():
            column[rows] = getattr(pages, name)
        # Last: another thread may be looking for the same pages.
        self._step[rows] = step

    def take(self, rows: I8) -> dict[str, NDArray[Any]]:
        """Copies of the columns of some requests' short pages, all of which were kept before."""
        taken = {name: column[rows] for name, column in self._kept.items()}
        let_go(*self._kept.values())
        return taken
