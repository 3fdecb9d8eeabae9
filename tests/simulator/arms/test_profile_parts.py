"""A profile that is measured in parts: the samples of both, of one machine and the same cells."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.arms.profiling.parts import check_same_cells, check_same_machine, joined
from simulator.cli import app
from simulator.config.settings import PROFILES
from simulator.serving.profile import Machine, ProfileError, ServiceProfile, from_measured

CELLS = {"store/s": [(5,), (50,)], "transport": [(5,), (50,)], "score/m": [(5, 4, 1), (50, 4, 1)]}
PUT_TOGETHER = (50, 4, 1)
HERE = Machine("m", 2, 23.6, None)


def part(seed: int, samples: int, commit: str = "c", **changed: object) -> ServiceProfile:
    random = np.random.default_rng(seed)
    wall = {
        place: {point: random.lognormal(size=samples).tolist() for point in points}
        for place, points in CELLS.items()
    }
    # A cell that was put together from others has no time of its own on the CPU.
    cpu = {
        place: {point: (float(seed), 2.0 * seed) for point in points if point != PUT_TOGETHER}
        for place, points in CELLS.items()
    }
    made = from_measured(
        HERE, {"python": "3"}, commit, f"2026-01-0{seed}", wall, cpu, [f"note {seed}", "both"]
    )
    return replace(made, **changed)


def test_a_cell_has_the_samples_of_both_parts_in_the_order_measured() -> None:
    first, second = part(1, 300), part(2, 100, commit="d")
    both = joined(first, second)
    for place, points in CELLS.items():
        for point in points:
            assert both.measured(place, point) == first.measured(place, point) + second.measured(place, point)
            assert both.cpu_s[place].get(point) == (None if point == PUT_TOGETHER else (1.25, 2.5))
    assert both.notes == ("note 1", "both", "note 2")
    assert both.commit == "c and d"
    assert joined(first, part(2, 100)).commit == "c"
    assert both.date == second.date
    assert both.machine == second.machine


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"machine": replace(HERE, cpu="another")}, "expected this machine"),
        ({"machine": replace(HERE, gpu="a GPU")}, "expected this machine"),
        ({"versions": {"python": "4"}}, "expected this machine"),
        ({"order": {}}, "expected them in the order measured"),
    ],
)
def test_parts_of_other_machines_and_forms_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        joined(part(1, 100, **changed), part(2, 100))
    # Memory is what the system leaves of it, and differs from start to start.
    check_same_machine(part(1, 100), replace(HERE, memory_gib=23.8), {"python": "3"})


def test_parts_with_other_cells_are_refused_by_name() -> None:
    more = {**CELLS, "transport": [(5,), (50,), (500,)]}
    with pytest.raises(ProfileError, match=r"transport at \(500,\) is in this measurement alone"):
        check_same_cells(part(1, 100), more)
    with pytest.raises(ProfileError, match=r"score/m at .* is in the earlier profile alone"):
        check_same_cells(part(1, 100), {k: v for k, v in CELLS.items() if k != "score/m"})


def test_the_command_refuses_an_earlier_part_before_it_measures(tmp_path: Path) -> None:
    other = json.loads((PROFILES / "cpu.json").read_text())
    other["machine"]["cpu"] = "another"
    (tmp_path / "other.json").write_text(json.dumps(other))
    for earlier, message in (
        ("none.json", "found no readable profile"),
        ("other.json", "expected this machine"),
    ):
        arguments = ["profile", "--add-to", str(tmp_path / earlier), "--out", str(tmp_path / "new.json")]
        said = CliRunner().invoke(app, arguments)
        assert said.exit_code != 0
        assert message in str(said.output) + str(said.exception)
    assert not (tmp_path / "new.json").exists()
