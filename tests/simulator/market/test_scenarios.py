"""Why a ranker that knows more earns more ADVV than revenue, and which markets bring the two together.

Two calibrated rankers in a market of known truth: what either leaves out is averaged, so neither promises
more than comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from simulator.market.auction import run_auctions
from simulator.market.budgets import demand, unlimited
from simulator.market.pages import Book, Pages, Rules

ROWS, WIDE, ADS, ADVERTISERS = 40_000, 16, 200, 40
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(12)


def averaged(logit: np.ndarray, spread: float) -> np.ndarray:
    """The mean probability where the logit varies by a normal of this spread around what is known."""
    each = 1.0 / (1.0 + np.exp(-(logit[..., None] + spread * NODES)))
    return each @ (WEIGHTS / WEIGHTS.sum())


@dataclass(frozen=True)
class Scene:
    """A market, and the lift of the ranker that knows three fifths of an affinity's variance over a fifth."""

    order: np.ndarray
    control: Pages
    treatment: Pages
    book: Book
    personal: np.ndarray  # (R, C) the true P(conversion | click)

    def lifts(self, rules: Rules, personal: bool = False) -> tuple[float, float]:
        """True lifts of ADVV and revenue without budgets."""
        budgets, earned = np.full((1, ADVERTISERS), np.inf), []
        for pages in (self.control, self.treatment):
            asked = Pages(**(vars(pages) | ({"pcvr": self.personal} if personal else {})))
            run = run_auctions(self.order, asked, self.book, budgets, rules, 1)
            earned.append((run.expected_advv.sum(), run.expected_revenue.sum()))
        return earned[1][0] / earned[0][0] - 1, earned[1][1] / earned[0][1] - 1


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(5)
    ads = rng.integers(0, ADS, (ROWS, WIDE))
    parts = rng.standard_normal((3, ROWS, WIDE)) * np.sqrt(np.array([0.2, 0.4, 0.4]))[:, None, None]
    click, conversion = -3.2 + 0.4 * rng.standard_normal(ADS), -2.4 + 0.3 * rng.standard_normal(ADS)
    pulled = 0.7 * parts.sum(0)
    p_convert = 1.0 / (1.0 + np.exp(-(conversion[ads] + 0.5 * parts.sum(0))))

    def pages(known: int) -> Pages:
        pctr = averaged(click[ads] + 0.7 * parts[:known].sum(0), 0.7 * np.sqrt(1 - (0.2, 0.6)[known - 1]))
        return Pages(
            request_id=np.arange(ROWS, dtype=np.uint64),
            time_s=np.linspace(0, 86_399, ROWS),
            candidates=ads,
            pctr=pctr,
            slots=np.ones(ROWS, np.int64),
            budget_row=np.zeros(ROWS, np.int64),
            p_click=(1.0 / (1.0 + np.exp(-(click[ads] + pulled))))[:, :, None],
            p_convert=p_convert,
        )

    book = Book(
        averaged(conversion, 0.5), 20 * np.exp(0.4 * rng.standard_normal(ADS)), np.arange(ADS) % ADVERTISERS
    )
    return Scene(np.arange(ROWS), pages(1), pages(2), book, p_convert)


def test_shared_budgets_of_some_clicks_fool_the_test_and_split_ones_do_not(scene: Scene) -> None:
    """Budgets of exp(-1) of what is wanted; the treatment, on half of the pages, knows every chance."""
    rows = np.arange(34_000)
    control = scene.control.take(rows)
    treatment = replace(control, pctr=control.p_click[:, :, 0])
    free = run_auctions(rows, control, scene.book, unlimited(1, ADVERTISERS), Rules(), 1)
    wanted = demand([free], scene.book, ADVERTISERS)
    budgets = np.exp(-1.0) * wanted.spend[None, :]
    assert 10 < np.median(budgets / wanted.click_cost) < 20

    def revenue(pages: Pages, budgets: np.ndarray) -> np.ndarray:
        return run_auctions(rows, pages, scene.book, budgets, Rules(), 1).expected_revenue

    truth = np.log(revenue(treatment, budgets).sum() / revenue(control, budgets).sum())
    found = []
    for seed in range(8):
        treated = np.random.default_rng(seed).random(len(rows)) < 0.5
        mixed = replace(control, pctr=np.where(treated[:, None], treatment.pctr, control.pctr))
        parted = replace(mixed, budget_row=treated.astype(np.int64))
        earned = (revenue(mixed, budgets), revenue(parted, np.repeat(budgets / 2, 2, axis=0)))
        found.append([np.log(one[treated].mean() / one[~treated].mean()) for one in earned])
    naive, parts = np.array(found).T - truth
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert naive.mean() > 0.05 + 2 * error[0]
    assert abs(parts.mean()) < min(2 * error[1], naive.mean() / 2)


def test_gsp_gives_advertisers_more_of_the_gain_than_it_earns(scene: Scene) -> None:
    advv, revenue = scene.lifts(Rules())
    assert advv > 0.05
    assert revenue < 0.7 * advv


def test_revenue_gains_with_every_step_of_a_reserve(scene: Scene) -> None:
    revenue = [scene.lifts(Rules(reserve_ecpm=ecpm))[1] for ecpm in (0.0, 150.0, 250.0, 350.0)]
    assert revenue == sorted(revenue)
    assert revenue[-1] > revenue[0] + 0.03


def test_first_prices_bring_revenue_nearer_to_advv(scene: Scene) -> None:
    assert scene.lifts(Rules(pricing="first"))[1] > scene.lifts(Rules())[1] + 0.01


def test_a_pcvr_of_user_and_ad_narrows_what_revenue_lacks(scene: Scene) -> None:
    gaps = [
        advv - revenue for advv, revenue in (scene.lifts(Rules(), personal) for personal in (False, True))
    ]
    assert gaps[1] < 0.7 * gaps[0]
