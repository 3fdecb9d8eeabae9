"""The pages of a trace's requests, as arms answer them: whole, or with the candidates alone that can win."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.experiment.answers import Answers, ArmAnswers
from simulator.experiment.shortlists import Shortlists
from simulator.inputs.conversion import TraceConversion
from simulator.inputs.prepare import Prepared
from simulator.market.auction import Paths
from simulator.market.pages import F8, I8, Book, Pages, Shown
from simulator.market.short import SPARE, shortened
from simulator.traffic.trace import PRE


class TracePages:
    """The pages of an experiment's requests.

    Args:
        prepared: its inputs.
        book: what its auctions know of ads.
        conversion: pCVR of user and ad; None for the ad's alone.

    Attributes:
        days: (B,) the experiment's; each is a budget row.
    """

    def __init__(self, prepared: Prepared, book: Book, conversion: TraceConversion | None) -> None:
        self._prepared, self._book, self._conversion = prepared, book, conversion
        self.days = np.unique(prepared.requests.day[prepared.in_experiment])

    def auction(self, rows: I8, answers: Answers, paths: Paths, shown: Shown | None) -> F8:
        """Auction some requests, in their order; see `Paths.run`."""
        order, short = np.arange(len(rows)), self._short(rows, answers)
        if short is None:
            return paths.run(order, self._whole(rows, answers), shown)
        return paths.run(order, short, shown, lambda places: self._whole(rows[places], answers))

    def _whole(self, rows: I8, answers: Answers) -> Pages:
        p_click, p_convert = self._prepared.truth.of(rows)
        return Pages(
            **self._requests(rows),
            candidates=self._prepared.requests.candidates[rows].astype(np.int64),
            pctr=answers.pctr(rows),
            p_click=p_click,
            p_convert=p_convert,
            pcvr=None if self._conversion is None else self._conversion.pcvr(rows),
        )

    def _short(self, rows: I8, answers: Answers) -> Pages | None:
        """Made of those requests that their arm has not shortened before; None where that gains nothing."""
        if self._prepared.requests.candidates.shape[1] <= self._prepared.truth.slots + SPARE:
            return None
        owners = answers.by_arm(rows)
        if owners is None:
            return None
        found: dict[str, NDArray[Any]] = {}
        for places, arm in owners:
            for name, column in self._of_arm(rows[places], arm).items():
                if name not in found:
                    found[name] = np.empty((len(rows), *column.shape[1:]), column.dtype)
                found[name][places] = column
        return Pages(**self._requests(rows), **found)

    def _of_arm(self, rows: I8, arm: ArmAnswers) -> dict[str, NDArray[Any]]:
        """The short pages' columns of some requests that one arm answers."""
        own, step = self._conversion is not None, arm.step_of(rows)
        if own not in arm.short:
            made = Shortlists(len(self._prepared.requests), self._prepared.truth.slots, own)
            arm.short.setdefault(own, made)
        kept = arm.short[own]
        new = kept.lacking(rows, step)
        if len(new):
            kept.put(rows[new], step[new], shortened(self._whole(rows[new], arm), self._book))
        return kept.take(rows)

    def _requests(self, rows: I8) -> dict[str, Any]:
        """What pages have beside their candidates."""
        requests = self._prepared.requests
        day = np.searchsorted(self.days, requests.day[rows])
        return {
            "request_id": requests.request_id[rows],
            "time_s": requests.arrival_s[rows],
            "slots": requests.slots[rows].astype(np.int64),
            "budget_row": np.where(requests.period[rows] != PRE, day, 0),
        }
