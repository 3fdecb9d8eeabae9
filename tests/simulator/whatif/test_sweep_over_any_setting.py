"""A sweep over a setting that nobody thought of when sweeps were made: by an `Axis` alone."""

from pathlib import Path

import pytest
from small_runs import asked_after, small, table_bytes

from simulator import Axis, read_run, read_sweep, run, sweep
from simulator.arms import training
from simulator.arms.clock import make_clock
from simulator.arms.plan import make_plan
from simulator.config.load import changed
from simulator.execution.interrupts import Interrupted
from simulator.inputs import prepare as inputs
from simulator.results.answers.build import answers_of
from simulator.results.answers.terms import terms_of
from simulator.results.answers.text import in_short
from simulator.results.axes import SweepError
from simulator.results.read import Sweep
from simulator.whatif.sweep import resume_sweep, run_sweep

HISTORIES = (40, 80, 160)
AXIS = Axis("arms.treatment.history", HISTORIES)
# Of budget and traffic a sweep has one for all its cells; a run of a cell's file has its own, unless told.
TOLD = ("experiment.budget_ms=11.0", "traffic.requests_per_s=200")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return sweep(small(*TOLD), [AXIS], tmp_path_factory.mktemp("swept") / "sweep")


def test_every_history_is_a_cell_and_a_column(swept: Sweep) -> None:
    table = swept.table("sweep").to_pandas()
    assert table[["cell", AXIS.key]].drop_duplicates().to_numpy().tolist() == [[0, 40], [1, 80], [2, 160]]
    assert swept.axes == (AXIS,)
    assert swept.axes[0].own == 160
    # What a list of sweeps says of it.
    assert swept.manifest["answer"] == in_short(answers_of(swept, terms_of(swept)), swept.axes)


def test_a_cell_is_the_run_with_its_history(swept: Sweep, tmp_path: Path) -> None:
    for index in (0, 2):
        alone = run(small(f"arms.treatment.history={HISTORIES[index]}", *TOLD), tmp_path / str(index))
        card, cell = alone.scorecard, swept.cell(index)
        assert card is not None
        assert cell is not None
        assert {**cell, "run": ""} == {**card, "run": ""}


def test_what_a_cell_does_not_change_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds, trained = [], []
    make_world, train = inputs.make_world, training.train
    monkeypatch.setattr(inputs, "make_world", lambda *a: (worlds.append(a), make_world(*a))[1])
    monkeypatch.setattr(training, "train", lambda *a, **k: (trained.append(a[0].kind), train(*a, **k))[1])
    inputs.forget()
    run_sweep(small(*TOLD), [AXIS], tmp_path / "sweep")
    assert len(worlds) == 1
    # Each history has a LASER of its own; DIN, control's model and the light one of all, is trained once.
    assert sorted(trained) == ["din", "laser", "laser", "laser"]


def test_two_processes_and_any_number_of_interruptions_give_the_same_bytes(
    swept: Sweep, tmp_path: Path
) -> None:
    parallel = run_sweep(small(*TOLD), [AXIS], tmp_path / "parallel" / "sweep", jobs=2)
    assert table_bytes(parallel) == table_bytes(swept.path)
    out, attempts = tmp_path / "interrupted" / "sweep", 0
    while not out.exists() or read_sweep(out).status != "finished":
        try:
            with asked_after(90):
                resume_sweep(out) if out.exists() else run_sweep(small(*TOLD), [AXIS], out)
        except Interrupted:
            attempts += 1
            assert attempts < 20
    assert attempts > 1
    assert table_bytes(out) == table_bytes(swept.path)


def test_axes_in_two_worlds_keep_their_models_apart(tmp_path: Path) -> None:
    axes = [Axis("experiment.budget_ms", (4.0, "none")), Axis("seed", (7, 8))]
    found = read_sweep(run_sweep(small(*TOLD), axes, tmp_path / "sweep"))
    for index, (budget, seed) in enumerate([("4.0", 7), ("4.0", 8), ("'none'", 7), ("'none'", 8)]):
        if index in (1, 2):
            alone = run(small(*TOLD, f"experiment.budget_ms={budget}", f"seed={seed}"), tmp_path / str(index))
            cell = found.cell(index)
            assert cell is not None
            assert {**cell, "run": ""} == {**(read_run(alone.path).scorecard or {}), "run": ""}
    assert len(list((found.path / "models").glob("*/*.ckpt"))) == 2 * 2


def test_an_automatic_budget_and_a_load_are_settled_by_the_files_own_arms() -> None:
    own = make_plan(small())
    longer = make_plan(changed(own.config, {AXIS.key: 20, "arms.control.history": 10}, "axis"), like=own)
    assert own.profile is not None
    clock, alone = make_clock(own, own.profile), make_clock(longer, own.profile)
    settled = make_clock(longer, own.profile, settled=clock)
    assert (settled.budget_s, settled.compression) == (clock.budget_s, clock.compression)
    assert alone.budget_s != clock.budget_s
    assert alone.compression != clock.compression
    # What it can serve is its own.
    assert settled.capacity_rps == alone.capacity_rps
    double = changed(own.config, {"traffic.load": 2 * (own.config.traffic.load or 0)}, "axis")
    twice = make_clock(make_plan(double, like=own), own.profile, settled=clock)
    assert twice.compression == 2 * clock.compression


def test_a_rate_takes_the_place_of_a_load_and_the_other_way_round() -> None:
    rate = changed(small(), {"traffic.requests_per_s": 100.0}, "axis")
    assert (rate.traffic.load, rate.traffic.requests_per_s) == (None, 100.0)
    assert changed(rate, {"traffic.load": 0.5}, "axis").traffic.requests_per_s is None


def test_listed_cells_are_what_was_listed_and_one_model_serves_all_histories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    train = training.train
    monkeypatch.setattr(training, "train", lambda *a, **k: (trained.append(a[0].kind), train(*a, **k))[1])
    cells = [{AXIS.key: 40, "experiment.budget_ms": 11}, {AXIS.key: 160, "experiment.budget_ms": 2.5}]
    found = sweep(small(*TOLD), out=tmp_path / "sweep", cells=cells, one_model=True)
    assert sorted(trained) == ["din", "laser"]
    table = found.table("sweep").to_pandas()
    assert table[["cell", *cells[0]]].drop_duplicates().to_numpy().tolist() == [
        [index, *cell.values()] for index, cell in enumerate(cells)
    ]
    assert found.places == cells
    # Cell 0 as a run of its own, told what the sweep was told.
    told = ["arms.treatment.training.history=160", "arms.treatment.training.lengths=[1.0,0.5,0.25]"]
    alone = run(small(*TOLD, "arms.treatment.history=40", *told), tmp_path / "alone")
    cell = found.cell(0)
    assert cell is not None
    mine, its = cell["arms"]["treatment"], (alone.scorecard or {})["arms"]["treatment"]
    assert (mine["metrics"], mine["latency"]) == (its["metrics"], its["latency"])


def test_one_model_needs_a_history_to_vary(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"--over arms\.NAME\.history"):
        run_sweep(small(), [Axis("experiment.budget_ms", (2, 4))], tmp_path / "sweep", one_model=True)
    with pytest.raises(ValueError, match="expected at least the 160"):
        small("arms.treatment.training.history=80")
    assert not list(tmp_path.iterdir())
