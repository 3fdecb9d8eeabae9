"""A metric of a table of one's own, as it is written on a command line: NAME=TOP or NAME=TOP/BELOW.

The simulator's own metrics are in `simulator/metrics.py`; these are named by the columns of any table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.analysis.columns import AnalysisError

__all__ = ["ColumnMetric", "parse_metrics"]

#: What the denominator of NAME=TOP is called.
UNITS = "units"


@dataclass(frozen=True)
class ColumnMetric:
    """sum(top) / sum(below) over units.

    name: of the metric. top, below: columns; below None counts each unit once, so that the metric is a mean.
    pre_top, pre_below: columns of the same before the experiment, for CUPED; both None without.
    """

    name: str
    top: str
    denominator: str | None = None
    pre_top: str | None = None
    pre_below: str | None = None

    @property
    def below(self) -> str:
        """The denominator's name, for messages."""
        return self.denominator or UNITS

    @property
    def columns(self) -> tuple[str | None, ...]:
        """Numerator, denominator, then the covariate's, where there is one; None counts units."""
        own = (self.top, self.denominator)
        return own if self.pre_top is None else (*own, self.pre_top, self.pre_below)


def parse_metrics(metrics: Sequence[str], pre: Sequence[str] = ()) -> tuple[ColumnMetric, ...]:
    """Metrics and their covariates, from NAME=TOP[/BELOW] each.

    Args:
        metrics: one text a metric.
        pre: covariates, TOP[/BELOW] each: one for every metric in their order, or a single one for all; or
            NAME=TOP[/BELOW] for the metric of that name.

    Raises:
        AnalysisError: a text of another form, a name that comes twice, or covariates that fit no metric.
    """
    found: dict[str, ColumnMetric] = {}
    for text in metrics:
        name, equals, ratio = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise AnalysisError(
                f"Found the metric {text!r}, expected NAME=TOP or NAME=TOP/BELOW, as in ctr=clicks/shown."
            )
        if name in found:
            raise AnalysisError(f"Found two metrics {name!r}, expected each name once. Rename one of them.")
        found[name] = ColumnMetric(name, *_ratio(text, ratio))
    if not found:
        raise AnalysisError("Found no metric, expected at least one: NAME=TOP or NAME=TOP/BELOW.")
    named = {text.partition("=")[0].strip(): text.partition("=")[2] for text in pre if "=" in text}
    plain = [text for text in pre if "=" not in text]
    strangers = sorted(set(named) - set(found))
    mixed = bool(plain) and (bool(named) or len(plain) not in (1, len(found)))
    if strangers or mixed or len(named) + len(plain) != len(pre):
        raise AnalysisError(
            f"Found the covariates {', '.join(pre)} for the metrics {', '.join(found)}, expected one for "
            "each in the same order, one for all, or NAME=TOP[/BELOW] for some."
        )
    of = named or dict(zip(found, plain * len(found) if len(plain) == 1 else plain, strict=False))
    covariates = {name: _ratio(text, text) for name, text in of.items()}
    return tuple(
        replace(metric, pre_top=covariates[name][0], pre_below=covariates[name][1]) if name in of else metric
        for name, metric in found.items()
    )


def _ratio(text: str, ratio: str) -> tuple[str, str | None]:
    top, slash, below = (part.strip() for part in ratio.partition("/"))
    if not top or (slash and not below) or re.search("/", below):
        raise AnalysisError(
            f"Found {text!r}, expected the columns TOP or TOP/BELOW. A column with a slash in its name "
            "cannot be named here; rename it."
        )
    return top, below or None
