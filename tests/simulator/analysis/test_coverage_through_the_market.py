"""Intervals judged on whole experiments: users are redrawn, pages auctioned, clicks drawn."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.analysis.aggregate import aggregate_users
from simulator.analysis.inference import estimate
from simulator.assignment import assign
from simulator.market.auction import run_auctions
from simulator.market.budgets import unlimited
from simulator.market.ledger import impression_columns
from simulator.market.pages import Auctions, Book, Pages, Rules
from simulator.metrics import RATIOS

WIDE, ADS, ADVERTISERS = 6, 40, 8
ARMS = ("old", "new")
NOISE = {"old": 0.8, "new": 0.3}  # of the arm's log pCTR: the new model is sharper

_fixed = np.random.default_rng(99)
BOOK = Book(
    pcvr=_fixed.uniform(0.1, 0.4, ADS),
    tcpa=_fixed.lognormal(3, 0.4, ADS),
    advertiser=_fixed.integers(0, ADVERTISERS, ADS),
)
APPEAL = _fixed.normal(0, 0.4, ADS)


def world(seed: int, users: int) -> tuple[np.ndarray, np.ndarray, Pages, dict[str, np.ndarray]]:
    """(user, period, pages, pCTR by arm) of redrawn users, who have a pre-period."""
    rng = np.random.default_rng(seed)
    count = 1 + rng.poisson(rng.gamma(2.0, 5.0, (2, users)))
    user = np.concatenate([np.repeat(np.arange(users), c) for c in count]).astype(np.uint64)
    period = np.repeat([0, 1], count.sum(1))
    rows = len(user)
    candidates = np.argsort(rng.random((rows, ADS)), axis=1)[:, :WIDE]
    taste = rng.normal(-1.6, 0.5, users)
    logit = taste[user.astype(int)][:, None] + APPEAL[candidates] + rng.normal(0, 0.5, (rows, WIDE))
    p_click = 1 / (1 + np.exp(-logit))
    pctr = {
        arm: np.clip(p_click * np.exp(rng.normal(0, sd, p_click.shape)), 1e-4, 1) for arm, sd in NOISE.items()
    }
    pages = Pages(
        request_id=np.arange(rows, dtype=np.uint64),
        time_s=np.zeros(rows),
        candidates=candidates,
        pctr=pctr["old"],
        slots=np.ones(rows, np.int64),
        budget_row=np.zeros(rows, np.int64),
        p_click=p_click[:, :, None],
        p_convert=BOOK.pcvr[candidates],
    )
    return user, period, pages, pctr


def auction(pages: Pages, pctr: np.ndarray, seed: int) -> Auctions:
    pages = Pages(**{**vars(pages), "pctr": pctr})
    rows = np.arange(len(pages.request_id))
    return run_auctions(rows, pages, BOOK, unlimited(1, ADVERTISERS), Rules(reserve_ecpm=20.0), seed)


def true_lifts(users: int) -> dict[str, float]:
    """From expected outcomes of many users under either arm."""
    _, period, pages, pctr = world(1_000_000, users)
    sums = []
    for arm in ARMS:
        run = auction(pages, pctr[arm], 1)
        keep = period == 1
        totals = {
            n: getattr(run, f"expected_{n}")[keep].sum()
            for n in ("impressions", "clicks", "conversions", "revenue", "advv")
        }
        sums.append(totals | {"requests": keep.sum()})
    return {
        m.name: float(sums[1][m.top] / sums[1][m.below] / (sums[0][m.top] / sums[0][m.below]) - 1)
        for m in RATIOS
    }


def experiment(seed: int, users: int) -> dict[str, np.ndarray]:
    user, period, pages, pctr = world(seed, users)
    treated = (assign(user, "coverage", (0.5, 0.5), seed) == 1) & (period == 1)
    run = auction(pages, np.where(treated[:, None], pctr["new"], pctr["old"]), seed)
    own = assign(user, "coverage", (0.5, 0.5), seed)
    names = np.array(["pre", "experiment"])[period]
    shown = impression_columns(run, pages.request_id, BOOK.advertiser)
    served = {
        "user_id": user,
        "arm": np.array(ARMS)[np.where(period == 1, own, 0)],
        "assigned": np.ones(len(user), bool),
        "period": names,
        "step": np.zeros(len(user), np.int8),
        "missed": np.zeros(len(user), bool),
    }
    impressions = {"user_id": user[shown["row"]], "period": names[shown["row"]]}
    impressions |= {name: shown[name] for name in ("click", "conversion", "charged", "value")}
    return aggregate_users(served, impressions, ARMS)


def coverage(replications: int, users: int) -> tuple[dict[str, float], dict[str, float]]:
    truth = true_lifts(20_000)
    covered: dict[str, list[bool]] = {m.name: [] for m in RATIOS}
    for seed in range(replications):
        table = experiment(seed, users)
        for metric in RATIOS:
            ci = estimate(table, metric, *ARMS).ci
            covered[metric.name].append(ci[0] <= truth[metric.name] <= ci[1])
    return {name: float(np.mean(hits)) for name, hits in covered.items()}, truth


def test_an_experiment_through_the_market_estimates_its_true_lift():
    truth = true_lifts(5_000)
    table = experiment(5, 3_000)
    assert truth["ctr"] > 0.02
    for metric in RATIOS:
        e = estimate(table, metric, *ARMS)
        assert (
            abs(np.log1p(e.lift) - np.log1p(truth[metric.name])) < 4 * e.se_log
        )  # the truth, too, is of a sample


@pytest.mark.slow
def test_intervals_cover_the_true_lift_of_redrawn_users():
    found, truth = coverage(1_000, 600)
    assert all(0.93 <= share <= 0.97 for share in found.values()), (found, truth)
