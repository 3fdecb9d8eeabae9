"""The table of docs/metrics.md, from the registry of metrics."""

from simulator.metrics import METRICS


def table() -> str:
    """One row per metric."""
    rows = [("metric", "meaning", "unit", "good is", "role unless primary"), ("---",) * 5]
    for metric in METRICS:
        role = "guardrail" if metric.guardrail else "secondary" if metric.compared else "value of an arm only"
        rows.append((f"`{metric.name}`", metric.meaning, metric.counts, metric.better, role))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
