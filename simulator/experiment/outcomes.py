"""What the pages earn: the A/B as assigned, and the counterfactual worlds where one arm serves everyone.

All worlds share the users' answers (draws keyed by request, ad and slot, never by arm) and the
advertisers' budgets, so that identical arms differ by exactly nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arms.plan import Plan
from simulator.draws import bits
from simulator.inputs.prepare import Prepared
from simulator.market.auction import auction_order, run_auctions
from simulator.market.budgets import daily_budgets, expected_spend, unlimited
from simulator.market.pages import Auctions, Book, Pages, Rules
from simulator.serving.pipeline import Served

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


# Paths of clicks that the truth averages over. On the demo one path moves the true revenue lift by 0.9
# points (standard deviation), sixteen by 0.2, against 0.8 from the sample of users.
TRUTH_PATHS = 16


@dataclass(frozen=True)
class Answers:
    """What every request of the trace is answered with, and when.

    Attributes:
        pctr: (R, C) calibrated pCTR of the ladder step that answered; the prior order's where
            none did in time.
        response_s: (R,) timing-plane seconds, completion or deadline, whichever is first.
    """

    pctr: F8
    response_s: F8


def answers(prepared: Prepared, served: Served, pctr_by_step: F8) -> Answers:
    """One arm's: each request's pCTR by what the timing plane decided.

    Args:
        served: the arm's timing plane.
        pctr_by_step: (K, R, C) calibrated pCTR, NaN where not computed.
    """
    steps, rows = len(pctr_by_step), np.arange(len(served))
    pctr: F8 = prepared.prior_ctr[prepared.requests.candidates.astype(np.int64)]
    scored = (served.step < steps) & ~served.missed
    pctr[scored] = pctr_by_step[served.step[scored], rows[scored]]
    if np.isnan(pctr).any():
        raise AssertionError("A request was answered by a step that was never scored.")
    return Answers(pctr, np.minimum(served.completion_s, served.deadline_s))


def mix(arm_of: I8, arms: Sequence[Answers]) -> Answers:
    """Each request's answer from the arm it was given to.

    Args:
        arm_of: (R,) index into `arms`.
    """
    pctr, response_s = arms[0].pctr.copy(), arms[0].response_s.copy()
    for index, arm in enumerate(arms[1:], start=1):
        mine = arm_of == index
        pctr[mine], response_s[mine] = arm.pctr[mine], arm.response_s[mine]
    return Answers(pctr, response_s)


class Market:
    """The auctions of one experiment: everything but the pages is fixed here.

    Args:
        plan: the experiment.
        control_full_pctr: (R, C) the control's pCTR at full history; rows of the pre-period are read,
            for what advertisers spent before the experiment and set their budgets by.
    """

    def __init__(self, plan: Plan, control_full_pctr: F8) -> None:
        self.prepared = prepared = plan.prepared
        self._settings, self._seed = plan.config.market, plan.config.seed
        requests, settings = prepared.requests, self._settings
        catalogue = prepared.world.catalogue
        self.book = Book(prepared.pcvr, catalogue.tcpa, catalogue.advertiser.astype(np.int64))
        self.rules = Rules(
            pricing=settings.pricing,
            charge=settings.charge,
            reserve_ecpm=settings.reserve_ecpm,
            conversion_delay_s=settings.conversion_delay_s,
        )
        self.advertisers = len(catalogue.advertiser_tcpa)
        self.candidates = requests.candidates.astype(np.int64)
        self.p_click, self.p_convert = prepared.truth
        experiment = prepared.in_experiment
        self.days = np.unique(requests.day[experiment])
        self.budgets = self._budgets(control_full_pctr)

    def pre_period(self, pages: Answers) -> Auctions:
        """The pre-period, served by one arm without budgets."""
        rows = np.flatnonzero(~self.prepared.in_experiment)
        return self._run(rows, pages.pctr, pages.response_s, unlimited(1, self.advertisers), None)

    def experiment(self, pages: Answers, path: int = 0) -> Auctions:
        """The experiment's requests under shared daily budgets.

        Args:
            path: which clicks are drawn; 0 is the experiment's own. All worlds share a path's draws.
        """
        rows = np.flatnonzero(self.prepared.in_experiment)
        day = np.searchsorted(self.days, self.prepared.requests.day[rows])
        return self._run(rows, pages.pctr, pages.response_s, self.budgets, day, path)

    def expected(self, pages: Answers) -> list[Auctions]:
        """The experiment's requests on several paths: their mean is what the world expects.

        Budgets make outcomes depend on which clicks happen to be drawn, since those decide who runs out.
        """
        paths = TRUTH_PATHS if np.isfinite(self.budgets).any() else 1
        return [self.experiment(pages, path) for path in range(paths)]

    def _budgets(self, control_full_pctr: F8) -> F8:
        settings, requests = self._settings, self.prepared.requests
        experiment = self.prepared.in_experiment
        if settings.budgets == "unlimited":
            return unlimited(len(self.days), self.advertisers)
        rows = np.flatnonzero(~experiment)
        free = self._run(rows, control_full_pctr, requests.arrival_s, unlimited(1, self.advertisers), None)
        per_day = np.bincount(np.searchsorted(self.days, requests.day[experiment]), minlength=len(self.days))
        return daily_budgets(
            expected_spend(free, self.book.advertiser, self.advertisers, settings.charge),
            len(rows),
            per_day,
            tau=settings.budget_tau,
            sigma=settings.budget_sigma,
            seed=self._seed,
        )

    def _run(
        self,
        rows: I8,
        pctr: F8,
        response_s: F8,
        budgets: F8,
        budget_row: I8 | None,
        path: int = 0,
    ) -> Auctions:
        requests = self.prepared.requests
        pages = Pages(
            request_id=requests.request_id[rows],
            time_s=requests.arrival_s[rows],
            candidates=self.candidates[rows],
            pctr=pctr[rows],
            slots=requests.slots[rows].astype(np.int64),
            budget_row=np.zeros(len(rows), np.int64) if budget_row is None else budget_row.astype(np.int64),
            p_click=self.p_click[rows],
            p_convert=self.p_convert[rows],
        )
        order = auction_order(response_s[rows], requests.request_id[rows])
        drawn = self._seed if path == 0 else int(bits(self._seed, "truth-path", path))
        return run_auctions(order, pages, self.book, budgets, self.rules, drawn)
