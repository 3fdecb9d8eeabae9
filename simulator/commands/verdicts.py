"""--fail-on: which scorecards end a command with exit code 3 or 4, so that a script can stop on them."""

from collections.abc import Mapping
from typing import Any

import typer

from simulator.commands.errors import GUARDRAIL, SRM
from simulator.results.numbers import metric_form
from simulator.results.scorecard import effects, split_is_off, treatment_names, verdict_of

CHECKS = ("guardrail", "srm")


def parse_fail_on(text: str | None) -> tuple[str, ...]:
    """`guardrail,srm` as a tuple.

    Raises:
        typer.BadParameter: another word.
    """
    words = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    for word in words:
        if word not in CHECKS:
            raise typer.BadParameter(
                f"found {word!r}, expected {' or '.join(CHECKS)}, or both with a comma",
                param_hint="--fail-on",
            )
    return words


def failed_guardrails(scorecard: Mapping[str, Any]) -> list[str]:
    """Guardrails that are shown to be broken, one sentence each."""
    states = {arm: verdict_of(scorecard, arm).get("guardrails") for arm in treatment_names(scorecard)}
    found = [
        f"{guard['name']} of {arm}: {guard['text'] or 'it is shown to be worse'}"
        for arm, guards in states.items()
        for guard in guards or ()
        if guard["holds"] is False
    ]
    for effect in effects(scorecard):
        if states[effect.arm] is not None:  # else a scorecard of an earlier release, which says no state
            continue
        low, high = effect.ci_low, effect.ci_high
        if effect.role != "guardrail" or not effect.enough or low is None or high is None:
            continue
        higher_is_better = metric_form(effect.metric, effect.unit).higher_is_better
        if (high < 0) if higher_is_better else (low > 0):
            found.append(f"{effect.metric} of {effect.arm} is worse: lift {low:+.1%} to {high:+.1%}")
    return found


def exit_code(scorecard: Mapping[str, Any], fail_on: tuple[str, ...]) -> tuple[int, list[str]]:
    """0, 3 or 4 and why. A sample ratio mismatch goes first: with it no metric can be trusted."""
    if "srm" in fail_on and split_is_off(scorecard):
        return SRM, ["sample ratio mismatch: the split is not the configured one"]
    failed = failed_guardrails(scorecard) if "guardrail" in fail_on else []
    return (GUARDRAIL, [f"guardrail failed: {sentence}" for sentence in failed]) if failed else (0, [])
