"""Profiles that ship can be decided by: their cells agree with one another, measured often enough."""

import json
from pathlib import Path

import pytest

from simulator.config.settings import PROFILES
from simulator.serving.fitness import disagreements
from simulator.serving.profile import load

SHIPPED = sorted(PROFILES.glob("*.json"))
# Samples of a cell, at least.
LEAST = 400


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profiles_cells_agree(path: Path) -> None:
    profile = load(path)
    if not profile.order:
        pytest.skip("sorted samples: measured before cells were held against each other")
    assert [wrong.message for wrong in disagreements(profile)] == []
    fewest = min(len(samples) for cells in profile.places.values() for samples in cells.values())
    assert fewest >= LEAST
    assert profile.order.keys() == profile.places.keys()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profile_says_how_it_was_measured(path: Path) -> None:
    assert "laser-ab profile" in path.with_suffix(".toml").read_text()
    assert load(path).commit


def test_a_profile_is_read_once_and_anew_when_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    text = (PROFILES / "cpu.json").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    first = load(path)
    assert load(path) is first
    path.write_text(json.dumps({**json.loads(text), "date": "2001-02-03"}), encoding="utf-8")
    assert load(path).date == "2001-02-03"
