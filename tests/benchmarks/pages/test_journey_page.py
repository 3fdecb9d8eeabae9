"""The page of Complete Journey: gaps that are paired, signs that both intervals show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def row(name: str, seed: int, auc: float, by_user: list[float]) -> dict[str, Any]:
    return {
        "part": "real", "world": "complete-journey", "world_seed": 1, "train_seed": seed, "name": name,
        "sauc": None, "auc": auc, "gauc": 0.7, "logloss": 0.1, "train_s": 3.0, "macs": 2.0e6,
        "by_user": by_user,
    }  # fmt: skip


FACTS = {
    "facts_of": "complete-journey", "train_requests": 5, "train_impressions": 200, "test_requests": 2,
    "test_impressions": 80, "test_users": 2, "test_click_rate": 0.04, "first_date": "2017-01-01",
    "last_date": "2018-01-01", "history_median": 795.0, "history_p90": 1962.0, "history_max": 4123,
}  # fmt: skip


def test_gaps_are_paired_by_seed_and_users_shares_leave_the_rows() -> None:
    from benchmarks.models.study_real import real_gap_rows

    rows = [row("din 50", s, 0.80 + s / 100, [0.01, -0.01]) for s in (0, 1)]
    rows += [row("laser 1,000", s, 0.83 + s / 100, [0.02, -0.02]) for s in (0, 1, 2)]
    rows.append(row("softmax gates", 1, 0.80, [0.0, 0.0]))
    rows.append({**row("w = 5", 0, 0.0, []), "failed": "out of memory"})
    del rows[-1]["auc"]
    found = real_gap_rows(rows)
    assert not any("by_user" in each for each in found)
    laser, softmax = (each for each in found if "gap" in each)
    assert (laser["gap"], laser["to"], laser["seeds"]) == ("laser 1,000", "din 50", 2)
    assert laser["pt"] == pytest.approx(3.0)
    # Two users whose shares differ by .01: sqrt(2 / 1 * 2 * .01^2) = .02, in points 2.
    assert laser["over_users"] == pytest.approx((3 - 1.96 * 2, 3 + 1.96 * 2))
    assert softmax["pt"] == pytest.approx(-4.0)
    assert softmax["over_seeds"] is None


def test_the_page_tells_signs_that_both_intervals_show_and_sets_them_beside_the_papers() -> None:
    from benchmarks.models.study_real import real_gap_rows
    from benchmarks.pages.journey import page

    draws = np.random.default_rng(4)
    rows: list[dict[str, Any]] = []
    aucs = {"din 50": 0.8, "laser 1,000": 0.84, "no recency": 0.83, "softmax gates": 0.85, "no fusion": 0.84}
    for name, auc in aucs.items():
        for seed in range(5):
            rows.append(row(name, seed, auc + draws.normal(0, 1e-4), draws.normal(0, 1e-6, 9).tolist()))
    machine = {"cpu": "Abacus", "gpu": None}
    gain = {"gap": "a model told", "to": "a model", "pt": 0.1, "over_seeds": [0.05, 0.15], "over_users": None}
    told = {"machine": machine, "commit": "abd", "rows": [gain]}
    text = page({"machine": machine, "commit": "abc", "rows": [FACTS, *real_gap_rows(rows)]}, None, told)
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "worse, as in the paper" in lines["no recency"]
    assert "better, unlike the paper" in lines["softmax gates"]
    assert "not told" in lines["no fusion"]
    assert "–" in lines["w = 5"]  # not run
    assert "Abacus, commit abc" in text
    assert "Abacus, commit abd" in text
    assert "| a model | +0.10 | [+0.05, +0.15] | – | not told |" in text


def test_the_run_is_told_as_its_scorecard_has_it() -> None:
    import simulator
    from benchmarks.pages.journey import _run

    path = Path(simulator.__file__).with_name("shipped") / "paper" / "scorecard.json"
    scorecard = json.loads(path.read_text())
    text, lines, *limits = _run(scorecard)
    advv = scorecard["metrics"]["advv_per_request"]
    assert f"Verdict: **{scorecard['verdict']['decision']}**" in text
    assert f"{sum(scorecard['units'].values()):,} households" in text.replace("\n", " ")
    low, high = advv["ci"]
    sign = "not told" if low <= 0 <= high else "told"
    told = f"| {advv['lift']:+.2%} | [{low:+.2%}, {high:+.2%}] | {sign} | {advv['true_lift']:+.2%} |"
    assert told in lines
    assert limits == []
    scorecard["notes"] = ["Invented: bids.", "The arms read histories of different lengths in 90.0% of them."]
    assert _run(scorecard)[2] == "- The arms read histories of different lengths in 90.0% of them."
