"""Ladders and arms."""

from __future__ import annotations

import pytest

from simulator.serving.arm import LadderStep, ServingArm, build_ladder


def _names(*args: object) -> list[tuple[str, str | None, int]]:
    return [(s.name, s.model, s.history) for s in build_ladder(*args)]  # type: ignore[arg-type]


def test_ladder_goes_full_half_quarter_light_prior() -> None:
    assert _names("heavy", 1000, "light", 50) == [
        ("full", "heavy", 1000),
        ("1/2", "heavy", 500),
        ("1/4", "heavy", 250),
        ("light", "light", 50),
        ("prior", None, 0),
    ]


def test_light_step_equal_to_the_full_one_is_dropped() -> None:
    assert [n for n, _, _ in _names("light", 50, "light", 50)] == ["full", "1/2", "1/4", "prior"]


def test_light_step_of_the_same_model_stays_if_it_is_shorter_than_a_quarter() -> None:
    assert _names("light", 1000, "light", 50)[3] == ("light", "light", 50)


def test_light_step_longer_than_the_full_one_is_dropped() -> None:
    assert [n for n, _, _ in _names("heavy", 20, "light", 50)] == ["full", "1/2", "1/4", "prior"]


@pytest.mark.parametrize(("history", "names"), [(1, ["full", "prior"]), (2, ["full", "1/2", "prior"])])
def test_steps_that_would_read_nothing_are_dropped(history: int, names: list[str]) -> None:
    assert [n for n, _, _ in _names("heavy", history)] == names


@pytest.mark.parametrize("ladder", [("", 10), ("heavy", 0), ("heavy", 10, "light", 0)])
def test_malformed_ladder_is_refused(ladder: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match=r"Found .* expected .*\. "):
        build_ladder(*ladder)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", [("", "m", 1), ("full", None, 5), ("full", "m", 0)])
def test_malformed_step_is_refused(step: tuple[str, str | None, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        LadderStep(*step)


@pytest.mark.parametrize(
    "change",
    [
        {"store_workers": 0},
        {"scorers": 0},
        {"max_batch": 0},
        {"max_wait_s": -1.0},
        {"max_wait_s": float("inf")},
        {"policy": "lifo"},
        {"steps": (LadderStep("prior", None, 0),)},
        {"steps": (LadderStep("full", "m", 5),)},
        {"steps": (LadderStep("a", "m", 5), LadderStep("a", "m", 2), LadderStep("prior", None, 0))},
    ],
)
def test_malformed_arm_is_refused_with_its_name(change: dict[str, object]) -> None:
    settings: dict[str, object] = {
        "name": "one",
        "store": "s",
        "steps": build_ladder("m", 5),
        "store_workers": 1,
        "scorers": 1,
        "max_batch": 1,
    }
    with pytest.raises(ValueError, match=r"'one'.* expected"):
        ServingArm(**settings | change)  # type: ignore[arg-type]
