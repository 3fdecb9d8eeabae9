"""The tables of docs/serving.md are those of the saved results, which bear out what the page says."""

from __future__ import annotations

import pytest

from benchmarks.pages.layout import saved
from benchmarks.pages.serving import ARMS, BARS, PAGE, bottleneck_block, page, scoring_table
from benchmarks.result import falls_short
from simulator.config.settings import PROFILES
from simulator.serving.profile import load

CARD = saved("h200_profile_scorecard")
LIVE = [f"profile_against_live_{machine}" for machine in ("h200", "cpu")]


def test_the_page_is_made_of_the_saved_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text
    with pytest.raises(ValueError, match="lacks <!-- scoring:begin -->"):
        page("no marks")


@pytest.mark.parametrize("name", LIVE)
def test_a_profile_says_what_live_runs_do_and_one_of_repeated_calls_is_too_kind(name: str) -> None:
    result = saved(name)
    assert not result["quick"]
    assert not any(map(falls_short, result["bars"]))
    rows = {(row["arm"], row["load"], row["way"]): row for row in result["rows"]}
    cases = {(arm, load) for arm, load, _ in rows}
    assert len(cases) == 3 * len(ARMS)
    for case in cases:
        assert rows[*case, "served + runs"]["outside"] == []
        assert rows[*case, "repeated"]["p50_ms"] < rows[*case, "live"]["p50_ms"]


def test_the_policy_that_looks_for_answers_in_time_never_has_fewer_than_first_come_first_served() -> None:
    in_time: dict[str, list[float]] = {"goodput": [], "fifo": []}
    for row in saved("timing")["rows"]:
        if row["part"] == "policies" and row["policy"] in in_time:
            in_time[row["policy"]].append(row["any_in_time"])
    assert in_time["fifo"]
    assert all(own >= other - 0.005 for own, other in zip(*in_time.values(), strict=True))


def test_the_bottleneck_is_of_the_shipped_profile() -> None:
    block = bottleneck_block(CARD)
    assert "NVIDIA H200" in CARD["profile_machine"]
    assert CARD["profile_machine"].endswith(load(PROFILES / "h200.json").date)
    assert block.count("| scorer") == 3  # busy, and the bottleneck of both


def test_of_what_scoring_was_to_reach_one_kernel_falls_short() -> None:
    lines = scoring_table(
        [saved(f"{name}_h200") for name in ("value_plane", "live", "quick_world")]
    ).splitlines()
    short = [line for line in lines if "falls short" in line]
    assert len(lines) == 2 + len(BARS)
    assert ["the tokens' kernel" in line for line in short] == [True]
