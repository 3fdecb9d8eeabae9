"""What the pages earn: the A/B as assigned, and the counterfactual worlds where one arm serves everyone.

All worlds share the users' answers (draws keyed by request, ad and slot, never by arm) and the
advertisers' budgets, so that identical arms differ by exactly nothing. A world is a pass over the trace, part
by part in the order of response; of the counterfactual ones only sums are kept. What is kept of every request
is in temporary files, so that memory does not grow with the trace. Start at `Market`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.arms.plan import Plan
from simulator.draws import bits
from simulator.execution import interrupts
from simulator.experiment.answers import Answers, ArmAnswers
from simulator.experiment.trace_pages import TracePages
from simulator.inputs.conversion import TraceConversion
from simulator.market.auction import Paths, auction_order
from simulator.market.budgets import Demand, daily_budgets, demand, unlimited
from simulator.market.pages import Book, Ledger, Rules, Shown
from simulator.metrics import OUTCOMES
from simulator.results.schemas import ROW_GROUP_ROWS
from simulator.scratch import Scratch, let_go
from simulator.traffic.priors import slot_weights

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

# Paths of clicks that the truth averages over: added in these steps until the truth's own error is small
# beside the A/B's. On the demo one path moves the true revenue lift by 0.9 points (standard deviation),
# sixteen by 0.2, against 0.8 from the sample of users.
TRUTH_PATHS = (4, 8, 16, 32, 64)
# Pages that are made at a time; bounds the temporary arrays.
_ROWS = 8192
# After so many parts the trace is let go of; its candidates, most of it, are after each.
_PARTS = 16
_EXPECTED = np.dtype([("sums", np.float64, (len(OUTCOMES),))])


@dataclass
class World:
    """One arm serving everyone in the experiment, on the paths that were run so far.

    Attributes:
        expected: of R requests, "sums": expected outcomes, summed over the paths, in the order of `OUTCOMES`;
            0 outside the experiment.
        totals: (P, 5) each path's.
        ledger: of the first path, which is the A/B's own.
    """

    expected: Scratch
    totals: F8
    ledger: Ledger

    def means(self, rows: I8) -> F8:
        """(n, 5) some requests' expected outcomes: the mean over paths."""
        means: F8 = self.expected.take(rows)["sums"] / len(self.totals)
        return means

    @property
    def path_totals(self) -> dict[str, F8]:
        """Each expected outcome's total on every path: how much the truth depends on drawn clicks."""
        return {f"expected_{name}": self.totals[:, k] for k, name in enumerate(OUTCOMES)}


@dataclass(frozen=True)
class Play:
    """Some of the experiment's requests to be auctioned on one path of clicks, by themselves.

    Attributes:
        rows: of the trace, all in the experiment.
        pages: their answers.
        seed: of the clicks.
        budgets: (B, V) that pay.
    """

    rows: I8
    pages: Answers
    seed: int
    budgets: F8


@dataclass(frozen=True)
class Played:
    """What came of a play.

    Attributes:
        rows: which requests.
        shown: their pages.
        totals: (5,) expected outcomes in the order of `OUTCOMES`.
        ledger: what advertisers paid and got.
    """

    rows: I8
    shown: KeptPages
    totals: F8
    ledger: Ledger


@dataclass(frozen=True)
class _Pass:
    """One way through some requests: in which order, with what answers, by which rules and draws.

    What comes of it is put into `shown` and added to `expected`, of R requests, where they are given.
    """

    order: I8
    pages: Answers
    paths: Paths
    shown: KeptPages | None = None
    expected: Scratch | None = None


class KeptPages:
    """What the pages of R requests showed.

    Args:
        rows: R.
        slots: S, of the largest page.
        folder: for temporary files.
    """

    def __init__(self, rows: int, slots: int, folder: Path | None) -> None:
        nothing = vars(Shown.nothing(0, slots)).items()
        record = np.dtype([(name, column.dtype, (slots,)) for name, column in nothing], align=True)
        self._kept = Scratch(record, rows, folder)

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, rows: I8, shown: Shown) -> None:
        """Keep some pages."""
        records, places = self._kept.of(rows)
        for name, column in vars(shown).items():
            records[name][places] = column

    def take(self, rows: I8) -> Shown:
        """Some pages, all of which were kept before."""
        records, places = self._kept.of(rows)
        return Shown(**{name: records[name][places] for name in self._kept.record.names or ()})

    def stretches(self) -> Iterator[tuple[I8, Shown]]:
        """All pages, in the trace's order, and their rows."""
        for rows in stretches(np.arange(len(self))):
            yield rows, self.take(rows)


#: The pre-period at full history, without budgets: its pages and what they came to, by what it depends on.
PrePeriod = dict[tuple[int, Rules, bool], tuple[KeptPages, Demand]]


class Market:
    """The auctions of one experiment: everything but the pages is fixed here.

    Args:
        plan: the experiment.
        full_pctr: the control's pCTR at full history of some requests; those of the pre-period are asked
            for, for what advertisers spent before the experiment and set their budgets by.
        jobs: threads; worlds are independent of each other.
        folder: for temporary files; the system's by default.
        known: what another market in this world, with the same control, found of the pre-period; what is
            found now is put there.

    Attributes:
        click_cost: (V,) what a click cost each advertiser in the pre-period [currency]; None where nobody has
            a budget.
        revenue_lost: the share of the A/B's revenue that budgets cost, on its own path of clicks; known
            after `as_assigned`, None where nobody has a budget.
    """

    def __init__(
        self,
        plan: Plan,
        full_pctr: Callable[[I8], F8],
        jobs: int = 1,
        folder: Path | None = None,
        known: PrePeriod | None = None,
    ) -> None:
        self.prepared = prepared = plan.prepared
        self._settings, self._jobs, self._folder = plan.config.market, jobs, folder
        self._known = {} if known is None else known
        self.seed = plan.config.seed
        settings = self._settings
        catalogue = prepared.world.catalogue
        self.book = Book(prepared.pcvr, catalogue.tcpa, catalogue.advertiser.astype(np.int64))
        self.rules = Rules(
            pricing=settings.pricing,
            charge=settings.charge,
            reserve_ecpm=settings.reserve_ecpm,
            conversion_delay_s=settings.conversion_delay_s,
            pacing=settings.pacing,
            slot_weights=slot_weights(prepared.world.log, prepared.truth.slots),
        )
        self.conversion = TraceConversion(prepared) if settings.pcvr == "affinity" else None
        self.advertisers = len(catalogue.advertiser_tcpa)
        inside = prepared.in_experiment
        self.experiment, self.before = np.flatnonzero(inside), np.flatnonzero(~inside)
        self._pages = TracePages(prepared, self.book, self.conversion)
        self.days = self._pages.days
        self.click_cost: F8 | None = None
        self.revenue_lost: float | None = None
        self._full_before: KeptPages | None = None
        self.budgets = self._budgets(full_pctr)

    def as_assigned(self, pages: Answers, before: ArmAnswers) -> tuple[KeptPages, Ledger]:
        """The A/B: the pre-period without budgets, then the experiment under shared daily budgets.

        Args:
            pages: the experiment's answers.
            before: the pre-period's: the control's, whose first step `full_pctr` is.

        Returns:
            The pages of all R requests, and the experiment's ledger.
        """
        shown = self._nothing_shown()
        free = Paths(self.book, unlimited(len(self.days), self.advertisers), self.rules, (self.seed,))
        rest = self.before
        if self._full_before is not None:
            # Without budgets no page depends on another: only what was answered otherwise is new.
            for rows in stretches(self.before):
                shown.put(rows, self._full_before.take(rows))
            rest = rest[~before.in_full(rest)]
        self._run([_Pass(self._order(rest, before), before, free, shown)])
        budgets = self.budgets[None]
        if self.limited:  # beside it, on the same clicks, what there would be without budgets
            budgets = np.stack([self.budgets, unlimited(*self.budgets.shape)])
        paths = Paths(self.book, budgets, self.rules, [self.seed] * len(budgets))
        self._run([_Pass(self._order(self.experiment, pages), pages, paths, shown)])
        if self.limited:
            earned, without = paths.totals[:, OUTCOMES.index("revenue")]
            self.revenue_lost = float(1.0 - earned / without) if without > 0 else None
        return shown, paths.ledger

    def truth(
        self,
        arms: Mapping[str, Answers],
        enough: Callable[[Mapping[str, Mapping[str, F8]]], bool],
    ) -> dict[str, World]:
        """The worlds in which one arm serves everyone, on several paths, the same ones in all of them.

        Budgets make outcomes depend on which clicks happen to be drawn, since those decide who runs out.

        Args:
            arms: by name, their answers.
            enough: whether these paths are; given the worlds' `path_totals`.
        """
        orders = {name: self._order(self.experiment, pages) for name, pages in arms.items()}
        requests = len(self.prepared.requests)
        expected = {name: Scratch(_EXPECTED, requests, self._folder) for name in arms}
        worlds: dict[str, World] = {}
        done = 0
        for upto in TRUTH_PATHS if self.limited else (1,):
            seeds = [self.path_seed(path) for path in range(done, upto)]
            runs = {name: Paths(self.book, self.budgets, self.rules, seeds) for name in arms}
            self._run([_Pass(orders[n], arms[n], runs[n], expected=expected[n]) for n in arms])
            for name, run in runs.items():
                known = worlds.get(name)
                if known is None:
                    worlds[name] = World(expected[name], run.totals, run.ledger)
                else:
                    known.totals = np.concatenate([known.totals, run.totals])
            done = upto
            if enough({name: world.path_totals for name, world in worlds.items()}):
                break
        return worlds

    def play(self, plays: Sequence[Play]) -> list[Played]:
        """Auction some requests, each play for itself and side by side."""
        runs = [Paths(self.book, one.budgets, self.rules, (one.seed,)) for one in plays]
        kept = [self._nothing_shown() for _ in plays]
        self._run(
            [
                _Pass(self._order(one.rows, one.pages), one.pages, run, shown)
                for one, run, shown in zip(plays, runs, kept, strict=True)
            ]
        )
        return [
            Played(one.rows, shown, run.totals[0], run.ledger)
            for one, run, shown in zip(plays, runs, kept, strict=True)
        ]

    def path_seed(self, path: int) -> int:
        """The seed of a path's clicks; path 0 is the experiment's own."""
        return self.seed if path == 0 else int(bits(self.seed, "truth-path", path))

    @property
    def limited(self) -> bool:
        """Whether anybody has a budget."""
        return bool(np.isfinite(self.budgets).any())

    def _budgets(self, full_pctr: Callable[[I8], F8]) -> F8:
        settings, requests = self._settings, self.prepared.requests
        if settings.budgets == "unlimited":
            return unlimited(len(self.days), self.advertisers)
        per_day = np.bincount(
            np.searchsorted(self.days, requests.day[self.experiment]), minlength=len(self.days)
        )
        before = self._free_demand(full_pctr)
        self.click_cost = before.click_cost
        return daily_budgets(
            before,
            len(self.before),
            per_day,
            tau=settings.budget_tau,
            sigma=settings.budget_sigma,
            seed=self.seed,
            clicks=settings.budget_clicks,
        )

    def _free_demand(self, full_pctr: Callable[[I8], F8]) -> Demand:
        """What advertisers would pay and get in the pre-period without budgets."""
        key = (self.seed, self.rules, self.conversion is not None)
        if key not in self._known:
            pages = _Full(self.prepared.requests.arrival_s, full_pctr)
            shown = self._nothing_shown()
            free = Paths(self.book, unlimited(1, self.advertisers), self.rules, (self.seed,))
            self._run([_Pass(self._order(self.before, pages), pages, free, shown)])
            parts = (shown.take(rows) for rows in stretches(self.before))
            self._known.clear()  # one at a time: of every request something is kept
            self._known[key] = shown, demand(parts, self.book, self.advertisers, self.rules.charge)
        self._full_before, found = self._known[key]
        return found

    def _nothing_shown(self) -> KeptPages:
        return KeptPages(len(self.prepared.requests), self.prepared.truth.slots, self._folder)

    def _order(self, rows: I8, pages: Answers) -> I8:
        """Rows of the trace in the order of their auctions."""
        requests = self.prepared.requests
        return rows[auction_order(pages.response_s[rows], requests.request_id[rows])]

    def _run(self, passes: Sequence[_Pass]) -> None:
        """Go through all passes side by side, so that they meet the same stretch of the trace together."""
        most = max(len(one.order) for one in passes)
        with ThreadPoolExecutor(max(1, min(self._jobs, len(passes)))) as pool:
            for first in range(0, most, _ROWS):
                interrupts.check()
                if first // _ROWS % _PARTS == 0:
                    self.prepared.let_go()
                # The kernel and most of numpy leave Python's lock alone.
                list(pool.map(partial(self._part, first), passes))

    def _part(self, first: int, one: _Pass) -> None:
        rows = one.order[first : first + _ROWS]
        if len(rows) == 0:
            return
        part = None if one.shown is None else Shown.nothing(len(rows), self.prepared.truth.slots)
        expected = self._pages.auction(rows, one.pages, one.paths, part)
        if one.shown is not None and part is not None:
            one.shown.put(rows, part)
        if one.expected is not None:
            records, places = one.expected.of(rows)
            records["sums"][places] += expected
        let_go(self.prepared.requests.candidates)


def stretches(rows: I8) -> Iterator[I8]:
    """Rows, as many at a time as a table's row group has."""
    for first in range(0, len(rows), ROW_GROUP_ROWS):
        yield rows[first : first + ROW_GROUP_ROWS]


@dataclass(frozen=True)
class _Full:
    """Every request answered at its arrival."""

    response_s: F8
    answer: Callable[[I8], F8]

    def pctr(self, rows: I8) -> F8:
        """See `Answers`."""
        return self.answer(rows)

    def by_arm(self, rows: I8) -> None:
        """See `Answers`."""
