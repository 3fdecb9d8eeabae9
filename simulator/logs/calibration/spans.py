"""A response fitted on some days of a log and tested on others: `fit_and_test`.

An import fits the whole log, which says nothing of days it has not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.training.metrics import auc, pcoc
from simulator.logs.real_log import RealLog
from simulator.logs.table.fit import FIT_ROWS, design_of, fit_logit, fitted_impressions, quality_of
from simulator.traffic.trace import TraceError

F8 = NDArray[np.float64]
GROUPS = 10  #: of predictions, by their order: deciles


@dataclass(frozen=True)
class Days:
    """Days of a log, first and last included, counted from 0."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str, log_days: int, option: str) -> Days:
        """Days as a user writes them: "5" or "1-4", counted from 1.

        Raises:
            TraceError: another form, or a day that the log does not have.
        """
        found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= log_days:
            raise TraceError(
                f"{option} is {text!r}, expected days of the log such as 3 or 1-3, from 1 to {log_days}. "
                f"Correct {option}."
            )
        return cls(first - 1, last - 1)

    def __contains__(self, day: int) -> bool:
        return self.first <= day <= self.last

    def of(self, day: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows lie in them."""
        return (self.first <= day) & (day <= self.last)

    def __str__(self) -> str:
        ends = (self.first + 1, self.last + 1)
        return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"


def fit_and_test(
    log: RealLog,
    fit: Days,
    test: Days,
    on_progress: Callable[[str, int, int], None],
    conversions: bool = True,
) -> dict[str, Any]:
    """Fit clicks and conversions on some days and judge them on others.

    Args:
        log: the whole log; what a row knows of its user comes from before the row in any case.
        fit, test: days that have none in common.
        on_progress: called with (stage, done, total).
        conversions: whether there are any to judge; where they were drawn there is nothing to learn of them.

    Returns:
        By outcome, "click" and "conversion" (None where there are none to judge): "fit" and "test", each AUC,
        log loss (nats), PCOC and rows; "days" and "deciles" of the test, each with rows, predicted and
        observed rates and PCOC. "sampled": the share of the impressions that were read.

    Raises:
        TraceError: the spans overlap, or one of them has clicks only, no clicks, or no rows.
    """
    if fit.first <= test.last and test.first <= fit.last:
        raise TraceError(
            f"--fit {fit} and --test {test} have days in common, expected none: a fit knows its own days. "
            "Move one of them."
        )
    shown = fitted_impressions(log)
    design, day = design_of(log, shown), shown.day
    click, conversion = shown.click, shown.conversion
    for option, span in (("--fit", fit), ("--test", test)):
        label = click[span.of(day)]
        if len(label) == 0 or label.min() == label.max():
            raise TraceError(
                f"{option} {span} holds {len(label)} impressions, {int(label.sum())} of them clicked, "
                f"expected some of both kinds. Choose other days for {option}."
            )
    found: dict[str, Any] = {"sampled": min(1.0, FIT_ROWS / len(log.impressions)), "conversion": None}
    outcomes = (("click", click, np.ones(len(shown), np.bool_)), ("conversion", conversion, click == 1))
    for number, (name, label, some) in enumerate(outcomes if conversions else outcomes[:1]):
        on_progress("fit and test", number, 2)
        before, after = some & fit.of(day), some & test.of(day)
        fitted = fit_logit(design.take(before), label[before])
        tested = design.take(after)
        p = fitted(tested.ids, tested.features)
        found[name] = {
            "fit": quality_of(fitted, design.take(before), label[before]),
            "test": quality_of(fitted, tested, label[after]),
            "days": by_day(p, label[after], day[after]),
            "deciles": by_decile(p, label[after]),
        }
    on_progress("fit and test", 2, 2)
    return found


def by_day(p: F8, label: NDArray[Any], day: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Calibration on each day that has rows, `day` counted from 1; AUC None on a day of one outcome."""
    found = []
    for each in np.unique(day):
        rows = day == each
        both = label[rows].min() < label[rows].max()
        entry = _calibration(p[rows], label[rows])
        found.append({"day": int(each) + 1, **entry, "auc": auc(p[rows], label[rows]) if both else None})
    return found


def by_decile(p: F8, label: NDArray[Any]) -> list[dict[str, Any]]:
    """Calibration in tenths of the rows, from the lowest predictions to the highest."""
    order = np.argsort(p, kind="stable")
    parts = [rows for rows in np.array_split(order, GROUPS) if len(rows)]
    return [_calibration(p[rows], label[rows]) for rows in parts]


def _calibration(p: F8, label: NDArray[Any]) -> dict[str, Any]:
    observed = float(label.mean())
    # The binomial error of the observed rate, if the predictions were true.
    error = float(np.sqrt((p * (1.0 - p)).sum()) / len(p))
    return {
        "rows": len(p),
        "predicted": float(p.mean()),
        "observed": observed,
        "standard_error": error,
        "pcoc": pcoc(p, label) if observed > 0 else None,
    }
