"""Runs side by side: what changed in the metrics of two, and which settings differ in any number."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.results.numbers import MISSING
from simulator.results.read import CONFIG, Run
from simulator.results.scorecard import Effect, effects


@dataclass(frozen=True)
class RunComparison:
    """Two runs side by side.

    Attributes:
        metrics: one record per metric and treatment: metric, arm, unit, control_a, control_b,
            treatment_a, treatment_b, treatment_change (b over a, minus one), lift_a, ci_a, lift_b, ci_b (both
            ends each), lift_change (b minus a), true_lift_a, true_lift_b; None where unknown, and a lift with
            its interval also where there is not data enough to show it.
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
    differing = settings_that_differ([a, b])
    return RunComparison(metrics, {key: (left, right) for key, (left, right) in differing.items()})


def settings_that_differ(runs: Sequence[Run]) -> dict[str, tuple[Any, ...]]:
    """Of the runs' files and manifests, the settings that are not the same in all, a value for each run.

    What was measured when a run began, such as its automatic budget, differs where its first three digits do.
    """
    found = [_settings(run) for run in runs]
    values = {key: tuple(one.get(key) for one in found) for key in sorted(set().union(*found))}
    return {key: each for key, each in values.items() if any(one != each[0] for one in each[1:])}


def setting_text(value: Any) -> str:
    """A setting as a table shows it: numbers in six digits."""
    if value is None:
        return MISSING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


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
        "ci_a": a.ci if a is not None and a.enough else None,
        "lift_b": lift_now,
        "ci_b": b.ci if b is not None and b.enough else None,
        "lift_change": lift_now - lift_was if lift_was is not None and lift_now is not None else None,
        "true_lift_a": a.true_lift if a else None,
        "true_lift_b": b.true_lift if b else None,
    }


def _estimate(effect: Effect | None) -> float | None:
    return effect.lift if effect is not None and effect.enough else None


def _settings(run: Run) -> dict[str, Any]:
    manifest_keys = ("seed", "commit", "service_times", "profile_machine")
    settings = {f"manifest.{key}": run.manifest.get(key) for key in manifest_keys}
    for key in ("time_compression", "budget_ms"):  # settled when the run began, often by measuring
        value = run.manifest.get(key)
        settings[f"manifest.{key}"] = float(f"{value:.3g}") if isinstance(value, float) else value
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
