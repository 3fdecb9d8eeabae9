"""The page "How wrong would your A/B test be?" is what the saved results say."""

from __future__ import annotations

from benchmarks.pages import wrong


def test_the_page_is_made_of_the_saved_results() -> None:
    made = wrong.page(*map(wrong.load, wrong.RESULTS_READ))
    assert wrong.PAGE.read_text(encoding="utf-8") == made, "run python benchmarks/pages/wrong.py"
