"""What an experiment needs of a world, whether it was generated or fitted on a real log."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.traffic.behaviours import Behaviours
from simulator.traffic.log import LogImpressions
from simulator.traffic.trace import Requests
from simulator.world.catalogue import Catalogue


class Sizes(NamedTuple):
    """How many ids of each kind there are; ids run from 0.

    `departments` has the department of each category, numbered from 0; nothing where none is known.
    """

    categories: int
    ads: int
    scenes: int
    actions: int
    departments: tuple[int, ...] = ()


class ExperimentWorld(Protocol):
    """Users, ads and the truth behind their clicks. Letters: n requests, k ads of each."""

    @property
    def sizes(self) -> Sizes:
        """What models must have embeddings for."""

    @property
    def catalogue(self) -> Catalogue:
        """Ads, advertisers and their tCPA."""

    @property
    def requests(self) -> Requests:
        """The trace that is replayed: pre-period and experiment."""

    @property
    def log(self) -> LogImpressions:
        """What models, calibration and the prior order are fitted on; earlier than the trace."""

    @property
    def behaviours(self) -> Behaviours:
        """All behaviours, from the first history to the experiment's end."""

    def response(
        self, rows: ArrayLike, ads: ArrayLike, position: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The truth of requests of the trace.

        Args:
            rows: (n,) row numbers in `requests`.
            ads: (n, k) or (n,) ad ids.
            position: slots counted from 0, broadcast to the shape of ads.

        Returns:
            (p_click, p_convert), f8 of the shape of ads: P(click | shown), P(conversion | click).

        Raises:
            ValueError: a row, ad or position is outside its range.
        """
