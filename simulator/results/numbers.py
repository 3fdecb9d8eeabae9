"""Numbers as people read them: with unit and interval, and an em dash where there is none.

Shared by the command line and the dashboard, so that both say the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from simulator.metrics import BY_NAME, TOTALS, RequestShare

MISSING = "—"
NOT_ENOUGH = "not enough data"
MINUS = "−"
_BEYOND = 1000  # times a test's requests; from there on more of the same is no advice


def percent(value: float | None, *, signed: bool = False, digits: int = 1) -> str:
    """A fraction as a percentage: 0.026 -> "2.6%", signed "+2.6%"."""
    if not _known(value):
        return MISSING
    return _signed(100 * value, f",.{digits}f", signed) + "%"


def share(value: float | None) -> str:
    """A share of requests, with the digits a small one needs: 0.0004 -> "0.04%"."""
    if not _known(value):
        return MISSING
    return percent(value, digits=2 if 0 < value < 0.01 else 1)


def error(value: float | None) -> str:
    """A standard error: 0.0066 -> "0.7%", and below 0.1% two significant digits: 0.00023 -> "0.023%".

    With a decimal as the figure beside it has, a small error would read as none at all.
    """
    if not _known(value):
        return MISSING
    if 0 < value < 1e-6:
        return "< 0.0001%"
    small = 0 < value < 1e-3
    return percent(value, digits=1 - math.floor(math.log10(100 * value)) if small else 1)


def ratio(value: float | None) -> str:
    """A rate such as CTR as a percentage: 0.03214 -> "3.214%"."""
    return percent(value, digits=3)


def currency(value: float | None) -> str:
    """An amount in the world's currency, four significant digits: 1.95 -> "1.950 ¤"."""
    if not _known(value):
        return MISSING
    return f"{_significant(value, 4)} ¤"


def ms(value: float | None) -> str:
    """Milliseconds, three significant digits: 12.345 -> "12.3 ms"."""
    if not _known(value):
        return MISSING
    return f"{_significant(value, 3)} ms"


def count(value: float | None) -> str:
    """A count: 250000 -> "250,000"."""
    return f"{int(value):,}" if _known(value) else MISSING


def about(value: float | None) -> str:
    """A number of requests that is itself an estimate, two significant digits: 61672607 -> "62,000,000", and
    4906118302 -> "4.9 billion".
    """
    if not _known(value):
        return MISSING
    rounded = float(f"{value:.1e}")
    if rounded < 1e9:
        return count(rounded)
    return f"{rounded / 1e9:,g} billion" if rounded < 1e15 else f"{rounded:g}"


def beyond(wanted: float, requests: float | None) -> str:
    """What to add where telling a lift takes so many requests and there are far fewer; else nothing."""
    if not requests or wanted <= _BEYOND * requests:
        return ""
    return f": with {count(requests)} requests this log or world cannot tell it"


def needed(size: Mapping[str, Any], requests: float | None) -> str:
    """What telling a lift takes: "about 62,000,000 requests of 9,100,000 users, 340 days at this traffic".

    Args:
        size: requests, users and days, as a scorecard's entry has them.
        requests: of the test that was made.
    """
    days = f", {about(size['days'])} days at this traffic" if size.get("days") is not None else ""
    text = f"about {about(size['requests'])} requests of {about(size['users'])} users{days}"
    return text + beyond(size["requests"], requests)


def duration(seconds: float) -> str:
    """How long something takes or took, about: "85 s", "12 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def p_value(value: float | None) -> str:
    """A p-value: 0.1532 -> "0.153", tiny ones "< 0.0001"."""
    if not _known(value):
        return MISSING
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.01 else f"{value:.3f}"


def p_phrase(value: float | None) -> str:
    """A p-value in a sentence: "p = 0.153", "p < 0.0001"."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval(ci: Sequence[float | None] | None, form: Callable[[float | None], str]) -> str:
    """An interval, both ends in the same form: "−1.0% to +6.0%"."""
    if ci is None or len(ci) != 2 or not all(_known(end) for end in ci):
        return MISSING
    return f"{form(ci[0])} to {form(ci[1])}"


def lift(value: float | None) -> str:
    """A lift: "+2.6%"."""
    return percent(value, signed=True)


def lift_with_interval(value: float | None, ci: Sequence[float | None] | None, level: float | None) -> str:
    """A lift and its interval: "+2.6% (95% CI −1.0% to +6.0%)"."""
    if not _known(value):
        return MISSING
    ends = interval(ci, lift)
    return (
        f"{lift(value)} (no interval)" if ends == MISSING else f"{lift(value)} ({level_name(level)} {ends})"
    )


def level_name(level: float | None) -> str:
    """The name of an interval: "95% CI"."""
    return f"{100 * level:g}% CI" if _known(level) else "CI"


@dataclass(frozen=True)
class MetricForm:
    """How a metric is named and printed.

    Attributes:
        label: its name for people.
        unit: what its values count.
        form: prints a value with its unit.
        higher_is_better: which way is good.
        meaning: the label spelt out; empty where unknown.
    """

    label: str
    unit: str
    form: Callable[[float | None], str]
    higher_is_better: bool = True
    meaning: str = ""


def metric_form(name: str, unit: str = "") -> MetricForm:
    """The form of a metric; one that this release does not know goes by its name and unit."""
    metric = BY_NAME.get(name)
    if metric is None:
        return MetricForm(name, unit, _FORMS.get(unit, plain_number))
    form = share if isinstance(metric, RequestShare) else _FORMS[metric.unit]
    return MetricForm(metric.label, metric.counts, form, metric.better == "higher", metric.meaning)


def total_label(name: str) -> str:
    """A user's total as tables name it: "advv" -> "ADVV"; one that this release does not know by its name."""
    return TOTALS.get(name, name)


def plain_number(value: float | None) -> str:
    """A number of unknown unit, four significant digits."""
    return _significant(value, 4) if _known(value) else MISSING


_FORMS: dict[str, Callable[[float | None], str]] = {
    "currency": currency,
    "fraction": ratio,
    "ms": ms,
    "number": plain_number,
}


def _significant(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return _signed(value, f",.{min(decimals, 8)}f", False)


def _signed(value: float, spec: str, signed: bool) -> str:
    text = format(abs(value), spec)
    if not any(digit in text for digit in "123456789"):  # never "−0.0%"
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and not isinstance(value, bool) and math.isfinite(value)
