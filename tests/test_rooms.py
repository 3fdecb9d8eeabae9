"""The plan of the rooms (docs/architecture.md): who may import whom, no circles, no crowded folder."""

import re

import pytest

from docs.generate import rooms

# A folder of more is read by nobody from end to end.
MOST_FILES = 20


def test_every_room_is_in_the_plan() -> None:
    assert set(rooms.rooms().values()) == set(rooms.ORDER)


def test_rooms_import_only_rooms_on_which_they_stand() -> None:
    height = {room: number for number, room in enumerate(rooms.ORDER)}
    wrong = [
        each
        for room, others in rooms.arrows().items()
        for other, found in others.items()
        for each in found
        if height[other] > height[room]
    ]
    assert wrong == []


def test_no_module_imports_itself_round_a_circle() -> None:
    assert rooms.circles() == []


@pytest.mark.parametrize("folder", rooms.folders())
def test_a_folder_can_be_surveyed(folder: str) -> None:
    assert rooms.files_in(folder) <= MOST_FILES


@pytest.mark.parametrize("folder", [folder for folder in rooms.folders() if folder != "seqvault/vault"])
def test_a_folder_says_what_it_holds_and_where_to_start(folder: str) -> None:
    assert rooms.holds(folder)
    found = re.fullmatch(r"`([^`]+\.py)`", rooms.start(folder))
    assert found, f"{folder}/__init__.py: expected 'Start at `FILE.py`' in its docstring"
    assert (rooms.ROOT / folder / found[1]).is_file() or (rooms.ROOT / found[1]).is_file()
