"""The comparison of trainings on a CPU: a ratio of medians, and none where the models became worse."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.models.train_cpu import MODELS, ratio


def rows(seconds: list[tuple[float, float]], lost: float) -> list[dict[str, Any]]:
    found = []
    for before_s, now_s in seconds:
        for tree, seconds_, sauc in (("before", before_s, 0.8), ("now", now_s, 0.8 - lost)):
            found.append(
                {"tree": tree, "seconds": seconds_, "models": {kind: {"sauc": sauc} for kind in MODELS}}
            )
    return found


def test_a_ratio_is_the_median_of_rounds_at_the_same_quality() -> None:
    found = ratio(rows([(3.0, 2.0), (8.0, 2.0), (2.0, 2.0)], lost=0.0005))
    assert found["faster"] == pytest.approx(1.5)
    assert found["rounds"] == pytest.approx([1.5, 4.0, 1.0])
    assert found["sauc_lost_most"] == pytest.approx(0.0005)


def test_faster_and_worse_is_no_ratio() -> None:
    assert ratio(rows([(3.0, 2.0)], lost=0.002))["faster"] is None
