"""One palette, every colour readable on white and on Streamlit's dark background.

Charts name a colour for every mark: Vega's defaults are black, and black on black is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

CONTROL = "#3B8BD0"
TREATMENT = "#F08A24"
TRUTH = "#B07CE0"
BUDGET = "#E5484D"
NEUTRAL = "#8B919A"
# Of text no one colour has 4.5 to 1 (WCAG AA) on both backgrounds.
INK_ON_LIGHT, INK_ON_DARK = "#4A4F58", "#C3C8D0"
DARK = "#14161A"
PAGE_ON_DARK = "#171614"  # Streamlit's own
ACCENT_ON_LIGHT, ACCENT_ON_DARK = "#1D62A0", "#6CB0EA"
GOOD_TO_BAD = ("#2BA88C", "#8DB84A", "#E3B23C", "#E07B39", "#B5494E")  # ladder steps, best first
# What a request's time is spent on, by `simulator.results.bottleneck.PARTS`; waiting is paler than its work.
PART_COLOURS = ("#2BA88C80", "#2BA88C", "#D16BA5", "#7A86E080", "#7A86E0")
_MORE_ARMS = (TREATMENT, "#2BA88C", "#D16BA5", "#A3A33A", "#7A86E0")


def arm_colours(arms: Sequence[str]) -> list[str]:
    """Colours of the arms, control first."""
    return [CONTROL, *(_MORE_ARMS[i % len(_MORE_ARMS)] for i in range(len(arms) - 1))][: len(arms)]
