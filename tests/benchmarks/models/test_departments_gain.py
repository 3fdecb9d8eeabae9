"""Gaps by departments are over the seeds that both trainings have."""

import pytest

from benchmarks.models.departments import gap_rows


def row(model: str, protocol: str, seed: int, auc: float) -> dict[str, object]:
    return {"model": model, "protocol": protocol, "train_seed": seed, "auc": auc}


def test_gaps_are_paired_by_seed_and_one_alone_has_no_interval() -> None:
    rows = [
        row("laser", "tuned", 0, 0.80), row("laser", "departments", 0, 0.81),
        row("laser", "tuned", 1, 0.70), row("laser", "departments", 1, 0.73),
        row("laser", "tuned", 2, 0.90), row("din", "tuned", 0, 0.6), row("din", "departments", 0, 0.5),
        row("base", "departments", 0, 0.5),
    ]  # fmt: skip
    laser, din = gap_rows(rows)
    assert (laser["gap"], laser["seeds"], laser["pt"]) == ("laser", 2, pytest.approx(2.0))
    low, high = laser["over_seeds"]
    assert low < 2.0 < high
    assert high - low == pytest.approx(2 * 12.7062, rel=1e-4)  # Student's, one degree of freedom
    assert (din["pt"], din["over_seeds"]) == (pytest.approx(-10.0), None)
