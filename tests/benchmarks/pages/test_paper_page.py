"""The papers' page is what the saved results say, with whatever is there; what was not run says so."""

import copy
from typing import Any

import pytest

from benchmarks.pages import paper
from benchmarks.pages.layout import README, RESULTS, with_block
from benchmarks.pages.study_rows import Study


@pytest.fixture(scope="module")
def saved() -> dict[str, Any]:
    return paper.saved(RESULTS)


def timed(name: str, history: int, p50_ms: float) -> dict[str, Any]:
    row = {"part": "latency", "name": name, "history": history, "candidates": 100, "mode": "graph"}
    return {**row, "p50_ms": p50_ms, "p99_ms": 2 * p50_ms}


@pytest.fixture(scope="module")
def study() -> Study:
    return Study.saved(RESULTS)


def effect(metric: str, lift: float, low: float, high: float) -> dict[str, Any]:
    named = {"part": "effect", "metric": metric, "arm": "treatment", "unit": "currency"}
    truth = {"true_lift": 0.021, "true_se": 0.001, "mde": 0.02}
    return {**named, "lift": lift, "ci_low": low, "ci_high": high, "level": 0.95, **truth}


def arm(name: str, **other: Any) -> dict[str, Any]:
    quantiles = {"p50_ms": 1.0, "p99_ms": 2.0, "store_p50_ms": 0.1, "store_p99_ms": 0.2}
    shares = {"missed_share": 0.001, "degraded_share": 0.0, "own_model_share": 0.99}
    return {
        "part": "arm", "name": name, "store": "seqvault", "model": "laser", "history": 1000, "auc": 0.78,
        "bottleneck": "scorer", "summary": None, **quantiles, **shares, **other,
    }  # fmt: skip


def run(*effects: dict[str, Any], arms: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    size = {
        "part": "experiment", "requests": 5_000_000, "users": 199_000, "days": 7, "verdict": "ship",
        "text": "It is better.", "minutes": 8.0, "in_parts": 1, "foretold_mde": 0.03,
        "profile_machine": "an abacus", "truth": None, "budget_ms": 5.0,
    }  # fmt: skip
    rows = [size, *effects, *(arms or (arm("control", model="din", history=50), arm("treatment")))]
    machine = {"cpu": "abacus", "cores": 16, "gpu": None}
    return {"machine": machine, "commit": "0123abcd", "seed": 7, "rows": rows}


def test_the_committed_page_is_what_the_saved_results_say(saved: dict[str, Any], study: Study) -> None:
    assert paper.page(saved, study) == paper.PAGE.read_text(encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    assert with_block(readme, paper.MARK, paper.readme_block(saved)) == readme


def test_the_readme_says_the_verdict_and_the_truth_or_nothing() -> None:
    assert paper.readme_block({}) == ""
    told = paper.readme_block({"paper_run": run(effect("advv_per_request", 0.02, 0.011, 0.03))})
    assert "**ship**" in told
    assert "in truth +2.10% (paper +2.36%)" in " ".join(told.split())


def test_what_was_not_run_says_so(study: Study) -> None:
    text = paper.page({}, study)
    assert text.count("has not been run") == 3
    assert "Not measured yet." in text


@pytest.mark.parametrize(
    ("lift", "low", "high", "words"),
    [
        (0.025, 0.005, 0.045, "a gain is told; the interval holds the paper's figure"),
        (0.01, -0.01, 0.03, "no change is told; the interval holds the paper's figure"),
        (0.01, -0.01, 0.02, "no change is told; the interval does not hold the paper's figure"),
        (-0.03, -0.04, -0.02, "a loss is told; the interval does not hold the paper's figure"),
    ],
)
def test_whether_advv_comes_out_follows_from_its_interval(
    study: Study, lift: float, low: float, high: float, words: str
) -> None:
    text = paper.page({"paper_run": run(effect("advv_per_request", lift, low, high))}, study)
    (line,) = (line for line in text.splitlines() if line.startswith("| ADVV per request"))
    assert line.endswith(f"| {words} |")
    assert f"| {100 * lift:+.2f}%".replace("-", "−") in line
    assert "+2.36%" in line
    assert "a lift of 3.0% in ADVV can be told" in " ".join(text.split())


def test_a_claim_that_does_not_hold_says_no(saved: dict[str, Any], study: Study) -> None:
    worse = copy.deepcopy(saved)
    claims = worse["paper_claims"]
    for row in claims["rows"]:
        if row["part"] == "cache":
            row["largest_change"] = 0.1
        if row["part"] == "operations" and row["model"] == "stca":
            row["macs_1"] = row["history"] ** 2
    before, after = (paper.page(one, study) for one in (saved, worse))
    for claim in ("the cached form equals the exact one", "cost linear in the length"):
        lines = [next(li for li in text.splitlines() if f"| {claim} |" in li) for text in (before, after)]
        assert lines[0].endswith("| yes |")
        assert lines[1].endswith("| no |")


def test_the_refresh_of_summaries_is_counted(saved: dict[str, Any], study: Study) -> None:
    """Made for every request, a kept summary saves nothing, whatever reading it costs."""

    claims = copy.deepcopy(saved["paper_claims"])
    claims["rows"] = [row for row in claims["rows"] if row["part"] != "latency"]
    claims["rows"] += [timed("vista", 10_000, 1.0), timed("vista, summary kept", 10_000, 0.05)]

    def line(share: float) -> str:
        summary = {"share_of_requests": share}
        arms = (arm("control"), arm("vista", model="vista", summary=summary))
        text = paper.page({"paper_claims": claims, "paper_second": run(arms=arms)}, study)
        return next(found for found in text.splitlines() if "inference GPU time" in found)

    assert f"{100.0:.1f}% of requests" in line(1.0)
    assert line(1.0).endswith("| no |")
    assert line(0.01).endswith("| yes |")
    change = [float(line(share).split("| ")[3].split("%")[0].replace("−", "-")) for share in (0.1, 1.0)]
    assert change[1] - change[0] == pytest.approx(90, abs=1)
