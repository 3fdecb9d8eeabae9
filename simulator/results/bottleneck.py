"""An arm's bottleneck in words: which servers are busy, and where its slow requests spend their time.

From "serving" of a scorecard's arms (docs/results.md); the command line and the dashboard share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from simulator.results import numbers
from simulator.results.scorecard import arms_of

UTILISATIONS = ("store_utilisation", "transport_utilisation", "scorer_utilisation")
PARTS = {
    "store_queueing": "waiting for the store",
    "store_service": "reading",
    "transport_service": "transport",
    "scorer_queueing": "waiting for the scorer",
    "scorer_service": "scoring",
}
_LEAST = 0.05  # parts of the P99 below this are not worth a word
_SAME_RATE = 1.05  # one trace in all cells: rates differ only by how late the last request completed

Load = Mapping[str, Any]


def serving_of(scorecard: Mapping[str, Any]) -> dict[str, Load]:
    """The arms' loads that are known, in the arms' order."""
    found = {name: arm.get("serving") or {} for name, arm in arms_of(scorecard).items()}
    return {name: load for name, load in found.items() if load.get("requests_per_s")}


def sentences(arm: str, load: Load) -> str:
    """One arm's bottleneck, how busy everything is, and what its P99 consists of."""
    if load["bottleneck"] is None:
        return f"{arm}: no request reached a server; all got the prior order, that of the log's click rates."
    return " ".join(part for part in (_busy(arm, load), _batches(load), _slow(load)) if part)


def traffic(scorecards: Iterable[Mapping[str, Any]]) -> str | None:
    """Says that a sweep's cells met unlike request rates, on which latencies depend; None if they did not."""
    loads = [serving_of(card).values() for card in scorecards]
    rates = [max(load["requests_per_s"] for load in cell) for cell in loads if cell]
    if not rates or max(rates) <= _SAME_RATE * min(rates):
        return None
    low, high = (numbers.count(round(rate)) for rate in (min(rates), max(rates)))
    return (
        f"The cells differ in traffic, {low} to {high} requests/s, as their settings ask: traffic.load is a "
        "share of what the slower arm of the file itself can serve."
    )


def metrics(load: Load) -> dict[str, float | None]:
    """A load's numbers as metrics of a sweep, all fractions: utilisations, and P99_PART_share."""
    shares = load.get("p99_shares") or {}
    found = {name: load.get(name) for name in UTILISATIONS}
    return found | {f"p99_{part}_share": shares.get(part) for part in PARTS}


def _busy(arm: str, load: Load) -> str:
    reading, transport, scorer = (load[name] for name in UTILISATIONS)
    scorers, workers = _servers(load["scorers"], "scorer"), _servers(load["store_workers"], "store worker")
    fetching = (
        f"{_percent(reading + transport)} (reading {_percent(reading)}, transport {_percent(transport)})"
    )
    if load["bottleneck"] == "scorer":
        words = f"{scorers} busy {_percent(scorer)} of the time, {workers} {fetching}"
    else:
        words = f"{workers} busy {fetching} of the time, {scorers} {_percent(scorer)}"
    rate = numbers.count(round(load["requests_per_s"]))
    return f"{arm}: at {rate} requests/s the {load['bottleneck']} is the bottleneck: {words}."


def _servers(number: int, name: str) -> str:
    return f"the {name}" if number == 1 else f"the {number} {name}s"


def _batches(load: Load) -> str:
    """What fuller batches would save, where scoring is the bottleneck and a batch may hold several."""
    size, most = load.get("mean_batch"), load.get("max_batch") or 1
    if load["bottleneck"] != "scorer" or size is None or most < 2:
        return ""
    return (
        f"A batch holds {size:.1f} of at most {most} requests on average; a full one takes "
        f"{load['full_batch_cost']:.1f} times as long as a single request."
    )


def _slow(load: Load) -> str:
    shares = load.get("p99_shares") or {}
    parts = sorted(((share, part) for part, share in shares.items() if share >= _LEAST), reverse=True)
    if not parts:
        return ""
    words = ", ".join(f"{_percent(share)} {PARTS[part]}" for share, part in parts)
    return f"A P99 request's time: {words}."


def _percent(value: float) -> str:
    return numbers.percent(value, digits=0 if value >= 0.1 else 1)
