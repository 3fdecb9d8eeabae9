"""Two runs side by side: what changed in the metrics, and which settings differ."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from simulator.results.read import CONFIG, Run
from simulator.results.scorecard import Effect, effects


@dataclass(frozen=True)
class RunComparison:
    """Two runs side by side.

    Attributes:
        metrics: one record per metric and treatment: metric, arm, unit, control_a, control_b,
            treatment_a, treatment_b, treatment_change (b over a, minus one), lift_a, lift_b,
            lift_change (b minus a), true_lift_a, true_lift_b; None where unknown, and a lift also
            where there is not data enough to show it.
        settings: {dotted key: (value in a, value in b)} for those that differ; None where absent.
    """

    metrics: list[dict[str, Any]]
    settings: dict[str, tuple[Any, Any]]


def compare(a: Run, b: Run) -> RunComparison:
    """Compare two runs: metrics, and the settings in which they differ.

    Raises:
        ResultsError: a scorecard is damaged.
    """
    left = {(e.metric, e.arm): e for e in effects(a.scorecard or {})}
    right = {(e.metric, e.arm): e for e in effects(b.scorecard or {})}
    metrics = [_metric_change(key, left.get(key), right.get(key)) for key in dict.fromkeys([*left, *right])]
    before, after = _settings(a), _settings(b)
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return RunComparison(metrics, {key: (before.get(key), after.get(key)) for key in keys})


def _metric_change(key: tuple[str, str], a: Effect | None, b: Effect | None) -> dict[str, Any]:
    some = a or b
    assert some is not None
    was, now = (a.treatment if a else None), (b.treatment if b else None)
    lift_was, lift_now = _estimate(a), _estimate(b)
    return {
        "metric": key[0],
        "arm": key[1],
        "unit": some.unit,
        "control_a": a.control if a else None,
        "control_b": b.control if b else None,
        "treatment_a": was,
        "treatment_b": now,
        "treatment_change": now / was - 1 if was and now is not None else None,
        "lift_a": lift_was,
        "lift_b": lift_now,
        "lift_change": lift_now - lift_was if lift_was is not None and lift_now is not None else None,
        "true_lift_a": a.true_lift if a else None,
        "true_lift_b": b.true_lift if b else None,
    }


def _estimate(effect: Effect | None) -> float | None:
    return effect.lift if effect is not None and effect.enough else None


def _settings(run: Run) -> dict[str, Any]:
    manifest_keys = ("seed", "commit", "service_times", "profile_machine", "time_compression", "budget_ms")
    settings = {f"manifest.{key}": run.manifest.get(key) for key in manifest_keys}
    settings |= _flat("manifest.hardware", run.manifest.get("hardware"))
    settings |= _flat("manifest.versions", run.manifest.get("versions"))
    try:
        text = (run.path / CONFIG).read_text(encoding="utf-8")
        settings |= _flat("", tomllib.loads(text))
    except (OSError, ValueError):  # absent or damaged: the manifest still has the main settings
        pass
    return settings


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(f"{prefix}.{key}" if prefix else str(key), item)
    return flat
