"""What departments gain on a log is paired by seed, over seeds and over users."""

import json
from typing import Any

import pytest

# Imported within the tests: with the benchmark comes triton, which later modules of tests want interpreted.


def row(name: str, seed: int, auc: float, by_user: list[float]) -> dict[str, Any]:
    return {"name": name, "train_seed": seed, "sauc": None, "auc": auc, "by_user": by_user}


def test_each_model_trains_without_and_with_departments_from_the_same_seeds() -> None:
    from benchmarks.models.departments import MODELS, TOLD, trainings

    found = list(trainings("a-log", [0, 0, 1], (3, 4)))
    assert len(found) == 2 * 2 * len(MODELS)
    told = [each for each in found if each.name.endswith(TOLD)]
    assert all(json.loads(each.options)["departments"] == [0, 0, 1] for each in told)
    apart = [(each.name, each.train_seed, each.history) for each in found if each not in told]
    assert [(t.name.removesuffix(f" {TOLD}"), t.train_seed, t.history) for t in told] == apart


def test_gaps_are_over_the_seeds_that_have_both() -> None:
    from benchmarks.models.departments import TOLD, gap_rows

    with_them = f"din 50 {TOLD}"
    rows = [
        row("din 50", 0, 0.80, [0.1, -0.1]), row(with_them, 0, 0.81, [0.1, -0.1]),
        row("din 50", 1, 0.70, [0.0, 0.0]), row(with_them, 1, 0.73, [0.2, -0.2]),
        row("din 50", 2, 0.90, [0.0, 0.0]), row(f"laser 1,000 {TOLD}", 0, 0.5, [0.0, 0.0]),
    ]  # fmt: skip
    (din,) = gap_rows(rows)
    assert (din["gap"], din["to"], din["seeds"]) == (with_them, "din 50", 2)
    low, high = din["over_seeds"]
    assert din["pt"] == pytest.approx(2.0)
    assert high - low == pytest.approx(2 * 12.7062, rel=1e-4)  # Student's, one degree of freedom
    assert din["over_users"][0] < 2.0 < din["over_users"][1]
