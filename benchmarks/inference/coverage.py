"""How often intervals, tests and verdicts are wrong, over thousands of experiments whose truth is known.

    python benchmarks/inference/coverage.py [--quick] [--json] [--out FILE]

A/A re-splits of one world, the P99 of bursty traces among the metrics, with their verdicts; a known
effect in worlds redrawn, with 200 and 1,000 users an arm; power at the planned MDE; looks at every day; P99
clustered by user; what P99's intervals leave out, on traces whose bursts are drawn anew; and the analysis of
ten metrics of a large table beside tea-tasting. A row has the share, its standard error, and the bounds that
are asked for.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.inference.bursts import Trace, bursty_trace, other_traces
from benchmarks.inference.speed import METRICS, write_events
from benchmarks.result import Measured, bar, main
from simulator.analysis.guardrails import Guardrails
from simulator.analysis.latency import QuantileLift, quantile_lift
from simulator.analysis.log_ratio import LogRatio
from simulator.analysis.resplit import lifts
from simulator.analysis.srm import Srm, check_split
from simulator.analysis.verdict import Case, verdicts
from simulator.assignment import assign
from simulator.certificate import calibrations
from simulator.certificate.users import draw
from simulator.metrics import RATIOS

SEED = 15
LOOKS = 14
TRACES = 8  # with bursts: where the slowest requests lie differs much between them
USERS, REQUESTS = 3_000, 24_000
B = NDArray[np.bool_]


def measure(quick: bool) -> Measured:
    """All parts; quick ones have a tenth of the experiments."""
    fewer = 10 if quick else 1
    rows = list(resplits(10_000 // fewer, 1_000 // fewer))
    for users, n in ((200, 10_000 // fewer), (1_000, 4_000 // fewer)):
        for name, hits in calibrations.coverage(SEED, n, users).items():
            rows.append(share(f"coverage, {users} users an arm", name, hits, n, 0.94, 0.96))
    n = 4_000 // fewer
    found = calibrations.planned_power(SEED, n, 1_000)
    rows.append(share("power at the planned MDE", "ctr", found, n, 0.78, 0.82))
    lift, se, units = calibrations.stream(SEED, n, LOOKS, LOOKS * 50)
    for rule in calibrations.RULES:
        hits = int(calibrations.stops(lift, se, units, rule).any(1).sum())
        most = 1.0 if rule == "fixed" else 0.05
        rows.append(share(f"error of a look on each of {LOOKS} days", rule, hits, n, 0.0, most))
    n = 2_000 // fewer
    own, of_lift = calibrations.latency_coverage(SEED, n)
    rows.append(share("coverage, clustered by user", "p99_ms", own, n, 0.93, 0.97))
    rows.append(share("coverage, clustered by user", "lift of p99_ms", of_lift, n, 0.93, 0.97))
    rows += redrawn(400 // fewer)
    rows += speed(10**7 // fewer)
    return rows, bars(rows)


def share(part: str, what: str, hits: int, of: int, low: float, high: float) -> dict[str, Any]:
    """A row: how often something happened, and the bounds asked for."""
    value = hits / of
    se = math.sqrt(value * (1 - value) / of)
    return {"part": part, "what": what, "value": value, "se": se, "experiments": of, "low": low, "high": high}


def resplits(n: int, judged: int) -> Iterator[dict[str, Any]]:
    """One world's users under arms that are identical, assigned again and again.

    Args:
        n: re-splits of the ratios.
        judged: those of each bursty trace whose P99 is compared too, and whose verdict is asked for.
    """
    users = draw(np.random.default_rng(SEED), (USERS,))
    ids = np.arange(USERS, dtype=np.uint64)
    treated = np.stack([assign(ids, f"re-split/{i}", (0.5, 0.5), SEED) == 1 for i in range(n)])
    for metric in RATIOS:
        p = np.concatenate(
            [lifts(users, metric, part).p_value for part in np.array_split(treated, n // 500 + 1)]
        )
        yield share("type-I error, A/A re-splits", metric.name, int((p < 0.05).sum()), n, 0.04, 0.06)
    treated = treated[: TRACES * judged]
    ratios = {metric.name: lifts(users, metric, treated) for metric in RATIOS}
    traces = [bursty_trace(SEED + i, USERS, REQUESTS) for i in range(TRACES)]
    quantiles = [_p99(traces[i // judged], one) for i, one in enumerate(treated)]
    wrong = np.array([lift.p_value is not None and lift.p_value < 0.05 for lift in quantiles])
    yield share(
        "type-I error, A/A re-splits", "p99_ms, bursty traces", int(wrong.sum()), len(wrong), 0.04, 0.06
    )
    by_trace = wrong.reshape(TRACES, judged).sum(1)
    for which, hits in (("least", by_trace.min()), ("most", by_trace.max())):
        yield share("A/A re-splits of one trace", f"p99_ms, {which} of {TRACES}", int(hits), judged, 0.0, 1.0)
    decided = [_decide(ratios, quantiles[i], i, treated[i]) for i in range(len(treated))]
    for decision in ("stop", "ship"):
        yield share(
            "A/A verdicts with guardrails", decision, decided.count(decision), len(decided), 0.0, 0.03
        )


def _p99(trace: Trace, treated: B) -> QuantileLift:
    mine = treated[trace.user_id.astype(np.int64)]
    return quantile_lift(trace.p99(0, ~mine), trace.p99(0, mine))


def redrawn(n: int) -> Iterator[dict[str, Any]]:
    """What the intervals of P99 leave out: they are of the users of one trace, not of other traces."""
    part = "coverage of other traces, bursts redrawn"
    own, alike = other_traces(SEED, n, USERS, REQUESTS, (1.0, 1.0))
    _, apart = other_traces(SEED, n, USERS, REQUESTS, (1.0, 1.1))
    yield share(part, "p99_ms", own, n, 0.0, 1.0)
    yield share(part, "lift of p99_ms, arms alike", alike, n, 0.0, 1.0)
    yield share(part, "lift of p99_ms, treatment 10 % slower", apart, n, 0.0, 1.0)


def _decide(ratios: Mapping[str, LogRatio], p99: QuantileLift, i: int, treated: B) -> str:
    """The i-th re-split's verdict, with the registry's guardrails and P99's margin."""
    metrics: dict[str, dict[str, Any]] = {}
    for name, found in ratios.items():
        low, high = found.interval(0.95)
        metrics[name] = {"lift": float(found.lift[i]), "ci": (float(low[i]), float(high[i])), "level": 0.95}
    metrics["p99_ms"] = {"lift": p99.lift, "ci": p99.ci, "level": 0.95}
    srm: Srm = check_split({"c": int((~treated).sum()), "t": int(treated.sum())}, {"c": 0.5, "t": 0.5})
    case = Case(metrics, int(min(treated.sum(), (~treated).sum())))
    return str(
        verdicts({"t": case}, "advv_per_request", srm, Guardrails(margins={"p99_ms": 0.0}))["t"]["decision"]
    )


def speed(events: int) -> Iterator[dict[str, Any]]:
    """Ten metrics with CUPED of a table of events, each in a process of its own on one core."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        write_events(path, events, SEED)
        for which in ("ours", "tea-tasting"):
            yield {"part": f"{events:,} events x {METRICS} metrics", "what": which, **_timed(which, path)}


def _timed(which: str, path: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("speed.py")
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    environment = {**os.environ, **one, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, str(script), which, str(path)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1] if done.stderr else f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The furthest that each part's rows are from their target, and the speed."""
    named = {
        "type-I error, A/A re-splits": ("type1_error_off", 0.05, 0.01),
        "coverage, 200 users an arm": ("coverage_200_off", 0.95, 0.01),
        "coverage, 1000 users an arm": ("coverage_1000_off", 0.95, 0.01),
        "power at the planned MDE": ("power_off", 0.80, 0.02),
        "coverage, clustered by user": ("p99_coverage_off", 0.95, 0.02),
    }
    found = []
    for part, (name, target, most) in named.items():
        furthest = max(abs(row["value"] - target) for row in rows if row["part"] == part)
        found.append(bar(name, furthest, most, better="lower"))
    rates = (("always-valid", "peeking_error", 0.05), ("stop", "aa_stop", 0.03), ("ship", "aa_ship", 0.03))
    for what, name, most in rates:
        (value,) = (row["value"] for row in rows if row["what"] == what)
        found.append(bar(name, value, most, better="lower"))
    ours = next(row for row in rows if row["what"] == "ours")
    found.append(bar("analysis_s", ours.get("cpu_s"), 20.0, better="lower"))
    found.append(bar("analysis_gb", ours.get("peak_gb"), 2.0, better="lower"))
    return found


if __name__ == "__main__":
    main("inference_coverage", __doc__, SEED, measure)
