"""Advertisers' tCPA as unequal as recorded bids or prices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.config.columns import FileColumn
from simulator.draws import uniform
from simulator.errors import SimulatorError
from simulator.logs.manifest import file_entry
from simulator.outside.columns import read_column
from simulator.world.catalogue import Catalogue


@dataclass(frozen=True)
class BidSource:
    """A column of bids as it was found; sha256 is of its file."""

    column: FileColumn
    sha256: str


def bid_source(column: FileColumn) -> BidSource:
    """Look at the file.

    Raises:
        ColumnError: the file cannot be read.
    """
    path = Path(column.file)
    read_column(path, column.column)  # what is wrong with it is said before any work
    return BidSource(column, file_entry(path)["sha256"])


def with_bids(catalogue: Catalogue, source: BidSource, seed: int) -> Catalogue:
    """The catalogue with an advertiser's tCPA drawn from the bids, scaled to the median tCPA of before.

    Bids for clicks or impressions are other money than what a conversion is worth: their spread is taken, not
    their level. Bids of nothing are left out.

    Args:
        catalogue: of the world.
        source: the bids.
        seed: of the draws, keyed by advertiser.

    Raises:
        SimulatorError: no bid is above 0.
    """
    bids = read_column(Path(source.column.file), source.column.column)
    bids = bids[bids > 0]
    if len(bids) == 0:
        raise SimulatorError(
            f"{source.column.file}: found no bid above 0, expected some. Choose another market.bids.column."
        )
    own = uniform(seed, "bid", np.arange(len(catalogue.advertiser_tcpa)))
    level = np.median(catalogue.advertiser_tcpa) / np.median(bids)
    tcpa: NDArray[np.float64] = level * np.quantile(bids, own)
    return replace(catalogue, tcpa=tcpa[catalogue.advertiser], advertiser_tcpa=tcpa)
