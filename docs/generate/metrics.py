"""The table of docs/metrics.md, from the registry of metrics."""

from simulator.analysis.guardrails import LIMITS
from simulator.metrics import METRICS, Metric


def table() -> str:
    """One row per metric."""
    rows = [("metric", "meaning", "unit", "good is", "role unless primary"), ("---",) * 5]
    for metric in METRICS:
        rows.append((f"`{metric.name}`", metric.meaning, metric.counts, metric.better, _role(metric)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _role(metric: Metric) -> str:
    """Its part in the verdict of an experiment whose file says nothing of guardrails."""
    limited = [f"limit `{name}`" for name, value in LIMITS.items() if value == metric.name]
    role = "guardrail" if metric.guardrail else "secondary" if metric.compared else "value of an arm only"
    return "; ".join([*(["guardrail"] if metric.compared and limited else [role]), *limited])
