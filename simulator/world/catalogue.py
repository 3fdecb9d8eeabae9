"""The catalogue: ads and advertisers, category popularity, and the ads' hidden qualities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.world.config import WorldConfig
from simulator.world.streams import block_stream

#: Organic items and ads have separate id spaces: item ids start here, far above any ad id.
ITEM_ID_BASE = 1 << 32


@dataclass(frozen=True)
class Catalogue:
    """What anyone may know about the ads; row i is ad i (A ads).

    Fields: ad_id u8 (A,) = 0..A-1; category u2 (A,); advertiser u2 (A,); tcpa f8 (A,), currency per
    conversion, inherited from the advertiser; advertiser_tcpa f8 (advertisers,).
    """

    ad_id: NDArray[np.uint64]
    category: NDArray[np.uint16]
    advertiser: NDArray[np.uint16]
    tcpa: NDArray[np.float64]
    advertiser_tcpa: NDArray[np.float64]


@dataclass(frozen=True)
class AdTruth:
    """What only the world knows: click and conversion logits of each ad, f8 (A,)."""

    click_logit: NDArray[np.float64]  #: q_ad + q_cat of its category
    conversion_logit: NDArray[np.float64]  #: cvr0 + the ad's own offset


@dataclass(frozen=True)
class Categories:
    """Popularity of categories, the clusters' tastes, and the ads of each category.

    popularity f8 (categories,), sums to 1; cluster_cdf f8 (clusters, categories);
    ads_by_category i8 (A,) with ads_offsets i8 (categories + 1,).
    """

    popularity: NDArray[np.float64]
    cluster_cdf: NDArray[np.float64]
    ads_by_category: NDArray[np.int64]
    ads_offsets: NDArray[np.int64]


def build_catalogue(config: WorldConfig, seed: int) -> tuple[Catalogue, AdTruth, Categories]:
    """Draw the catalogue of one world; ads are spread evenly over categories and advertisers."""
    rng = block_stream(seed, "catalogue")
    popularity = _zipf(config.categories, config.category_zipf)[rng.permutation(config.categories)]
    taste = rng.dirichlet(np.full(config.categories, config.cluster_concentration), config.clusters)
    category = rng.permutation(np.arange(config.ads) % config.categories)
    advertiser = rng.permutation(np.arange(config.ads) % config.advertisers)
    tcpa = config.tcpa_median * np.exp(config.tcpa_sd * rng.standard_normal(config.advertisers))
    q_category = config.category_sd * rng.standard_normal(config.categories)
    truth = AdTruth(
        config.ad_sd * rng.standard_normal(config.ads) + q_category[category],
        config.cvr0 + config.cvr_sd * rng.standard_normal(config.ads),
    )
    catalogue = Catalogue(
        np.arange(config.ads, dtype=np.uint64),
        category.astype(np.uint16),
        advertiser.astype(np.uint16),
        tcpa[advertiser],
        tcpa,
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(category, minlength=config.categories))])
    ads = np.argsort(category, kind="stable").astype(np.int64)
    return catalogue, truth, Categories(popularity, np.cumsum(taste, axis=1), ads, offsets.astype(np.int64))


def departments_of(config: WorldConfig) -> tuple[int, ...]:
    """The department of each category; nothing where every category is one of its own."""
    if config.department == 1:
        return ()
    return tuple(category // config.department for category in range(config.categories))


def next_steps(
    config: WorldConfig, category: NDArray[np.uint16], steps: NDArray[np.int64]
) -> NDArray[np.uint16]:
    """The category so many steps on in its department, which begins anew at its end."""
    first = category.astype(np.int64) // config.department * config.department
    size = np.minimum(config.department, config.categories - first)  # the last may be smaller
    return (first + (category - first + steps) % size).astype(np.uint16)


def _zipf(n: int, exponent: float) -> NDArray[np.float64]:
    weights = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    share: NDArray[np.float64] = weights / weights.sum()
    return share
