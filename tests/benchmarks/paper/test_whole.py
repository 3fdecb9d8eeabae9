"""An experiment carried out in parts ends as one that was not interrupted, with every part's time counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages import paper as page
from benchmarks.pages.study_rows import Study
from benchmarks.paper import whole
from simulator.execution import interrupts
from simulator.results.read import read_run
from simulator.results.small import make_small

# Without histories to read there is little to train and to score.
TINY = (
    "traffic.world.users=240",
    "traffic.world.requests=600",
    "traffic.world.history_max=30",
    "traffic.world.log_requests=2",
    *(f"arms.{arm}.{one}" for arm in ("control", "treatment") for one in ("model=base", "history=1")),
    *(f"arms.{arm}.light_model=none" for arm in ("control", "treatment")),
)


class Stops:
    """Asked to end at the n-th moment at which that can be."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an experiment that was stopped once on its way."""
    folder = tmp_path_factory.mktemp("paper") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASER_AB_CACHE_GB", "0")
        patch.setattr(interrupts, "_flag", Stops(6))
        assert not carried_out(folder)
        assert read_run(folder).status == "interrupted"
        patch.undo()
        patch.setenv("LASER_AB_CACHE_GB", "0")
        assert carried_out(folder)
    return folder


def carried_out(folder: Path) -> bool:
    return whole.carried_out(whole.EXPERIMENTS["run"], folder, False, TINY, 5.0, 1)


def rows_of(finished: Path) -> list[dict[str, Any]]:
    return whole.measured(finished, whole.EXPERIMENTS["run"])[0]


def test_the_times_of_all_parts_are_summed(finished: Path) -> None:
    parts = json.loads(finished.with_name("run.parts.json").read_text(encoding="utf-8"))
    rows, bars = whole.measured(finished, whole.EXPERIMENTS["run"])
    assert len(parts) == rows[0]["in_parts"] == 2
    seconds = sum(part["seconds"] for part in parts)
    assert bars[0]["value"] == pytest.approx(seconds / 60)
    staged = {row["stage"]: row["seconds"] for row in rows if row["part"] == "stage"}
    assert list(staged)[:2] == ["world", "train"]
    assert 0 < sum(staged.values()) <= seconds + 0.1


def test_a_finished_experiment_is_carried_out_no_further(finished: Path) -> None:
    before = finished.with_name("run.parts.json").read_bytes()
    assert carried_out(finished)
    assert finished.with_name("run.parts.json").read_bytes() == before


def test_rows_are_the_scorecard_s(finished: Path) -> None:
    card = read_run(finished).scorecard
    assert card is not None
    rows = rows_of(finished)
    effects = {row["metric"]: row for row in rows if row["part"] == "effect"}
    entry = card["arms"]["treatment"]["metrics"]["advv_per_request"]
    assert (effects["advv_per_request"]["lift"], effects["advv_per_request"]["true_lift"]) == (
        entry["lift"], entry["true_lift"],
    )  # fmt: skip
    assert rows[0]["requests"] == 600
    assert sum(row["requests"] for row in rows if row["part"] == "day") == sum(
        arm["requests"] for arm in card["arms"].values()
    )
    arms = [row for row in rows if row["part"] == "arm"]
    assert [arm["model"] for arm in arms] == ["base", "base"]
    assert all(0 < arm["store_p50_ms"] <= arm["store_p99_ms"] for arm in arms)


def test_its_page_and_its_small_form_can_be_made(finished: Path, tmp_path: Path) -> None:
    result = {"machine": {"cpu": "abacus", "cores": 1, "gpu": None}, "commit": "0", "seed": 7}
    text = page.page({"paper_run": {**result, "rows": rows_of(finished)}}, Study())
    assert "600 requests" in text
    whole.shrunk(finished, tmp_path / "small", "0123abcd")
    small = read_run(tmp_path / "small")
    assert (small.status, small.manifest["commit"]) == ("finished", "0123abcd")
    assert small.manifest["shipped"].startswith("paper at full size")
    assert not small.has("run.lock")
    assert make_small(finished, tmp_path / "again").is_dir()
