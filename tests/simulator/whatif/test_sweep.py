"""Sweeps: the grid, what a cell shares with a run, and what a budget does."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from simulator.config.load import load_config
from simulator.experiment.run import run_experiment
from simulator.results.axes import BUDGET, Axis, SweepError, axes_over, cells_of, heads, in_words
from simulator.results.read import Sweep, read_run, read_sweep
from simulator.results.schemas import sweep_schema
from simulator.whatif.axes import parse_axes, parse_cell
from simulator.whatif.sweep import cell_rows, run_sweep

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SMALL = (
    "traffic.world.users=150",
    "traffic.world.requests=800",
    "traffic.world.history_max=250",
    "arms.treatment.history=250",
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    config = load_config(EXAMPLES / "demo.toml", SMALL, environment={})
    return read_sweep(run_sweep(config, (), tmp_path_factory.mktemp("sweep") / "sweep"))


def series(sweep: Sweep, arm: str, metric: str, column: str = "value") -> np.ndarray:
    rows = sweep.table("sweep").to_pandas()
    rows = rows[(rows.arm == arm) & (rows.metric == metric)].sort_values(BUDGET)
    return rows[column].to_numpy(dtype=float)


def test_an_auto_sweep_spans_a_third_to_three_times_the_unloaded_p95(sweep: Sweep) -> None:
    p95_ms = sweep.manifest["unloaded_p95_ms"]
    budgets = np.unique(sweep.table("sweep").to_pandas()[BUDGET])
    assert budgets[0] == pytest.approx(0.3 * p95_ms)
    assert budgets[-1] == pytest.approx(3.0 * p95_ms)


def test_what_users_add_to_a_cells_true_lift_is_kept_and_makes_its_error(sweep: Sweep) -> None:
    for cell in sweep.cells:
        (added,), card = (sweep.paired(cell) or {}).values(), sweep.cell(cell) or {}
        entry = card["metrics"]["advv_per_request"]
        users = added["log_lift"]
        error = np.sqrt(users @ users * len(users) / (len(users) - 1)) * (1 + entry["true_lift"])
        # What is left is the paths' own error.
        assert 0 <= error <= entry["true_se"] * (1 + 1e-9)
        assert added["requests"].sum() == sum(arm["requests"] for arm in card["arms"].values())
    assert error > 0.5 * entry["true_se"]


def test_every_arm_has_every_metric_in_every_cell(sweep: Sweep) -> None:
    rows = sweep.table("sweep").to_pandas()
    wanted = {"advv_per_request", "revenue_per_request", "ctr", "cvr", "p50_ms", "p95_ms", "p99_ms"}
    wanted |= {"missed_share", "degraded_share", "full_history_share"}
    wanted |= {
        "store_utilisation",
        "transport_utilisation",
        "scorer_utilisation",
        "p99_scorer_queueing_share",
    }
    for _, group in rows.groupby(["cell", "arm"]):
        assert wanted <= set(group.metric)
    treatment = set(rows[rows.arm == "treatment"].metric)
    assert {"advv_per_request_lift", "revenue_per_request_lift", "ctr_lift", "p99_ms_lift"} <= treatment


def test_a_looser_budget_never_costs_full_history(sweep: Sweep) -> None:
    for arm in ("control", "treatment"):
        shares = series(sweep, arm, "full_history_share", "true_value")
        assert (np.diff(shares) >= -0.005).all()


def test_a_cell_equals_a_run_with_its_budget(sweep: Sweep, tmp_path: Path) -> None:
    budget_ms = float(np.unique(sweep.table("sweep").to_pandas()[BUDGET])[5])
    config = load_config(
        EXAMPLES / "demo.toml", [*SMALL, f"experiment.budget_ms={budget_ms!r}"], environment={}
    )
    run = read_run(run_experiment(config, tmp_path / "run"))
    cell = sweep.cell(5)
    assert cell is not None
    for name, entry in run.scorecard["metrics"].items():
        assert cell["metrics"][name] == entry


def test_each_cell_reports_its_own_load_and_the_sweep_whose_service_times(sweep: Sweep) -> None:
    assert "cores" in sweep.manifest["profile_machine"]
    for index in sweep.cells:
        card = sweep.cell(index)
        assert card is not None
        assert card["profile_machine"] == sweep.manifest["profile_machine"]
        busy = card["arms"]["treatment"]["serving"]["scorer_utilisation"]
        assert series(sweep, "treatment", "scorer_utilisation")[index] == busy
        assert series(sweep, "treatment", "scorer_utilisation", "true_value")[index] == busy
    # The tightest budgets leave the scorers little to do.
    assert series(sweep, "treatment", "scorer_utilisation")[0] < busy


def test_two_worker_processes_sweep_to_the_same_bytes(sweep: Sweep, tmp_path: Path) -> None:
    config = load_config(EXAMPLES / "demo.toml", SMALL, environment={})
    again = run_sweep(config, (), tmp_path / "sweep", jobs=2)
    assert (again / "sweep.parquet").read_bytes() == (sweep.path / "sweep.parquet").read_bytes()


def test_an_auto_sweep_contains_the_runs_own_setting(sweep: Sweep) -> None:
    (axis,) = sweep.axes
    assert axis.own == axis.nearest == 2.0 * sweep.manifest["unloaded_p95_ms"]
    assert axis.own in axis.values


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("arms.treatment.history=50,200", "arms.treatment.history", (50, 200)),
        ("experiment.budget_ms=2.5, none", "experiment.budget_ms", (2.5, "none")),
        ("arms.control.store=lastn,seqvault", "arms.control.store", ("lastn", "seqvault")),
        ("arms.a.training.lengths=[1.0],[1.0, 0.5]", "arms.a.training.lengths", ([1.0], [1.0, 0.5])),
        ("x.flag=true,false", "x.flag", (True, False)),
    ],
)
def test_axes_are_read_as_a_file_reads_values(text: str, key: str, values: tuple[object, ...]) -> None:
    assert parse_axes([text]) == (Axis(key, values),)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (
            "arms.t.history=200,experiment.budget_ms=20.5",
            {"arms.t.history": 200, "experiment.budget_ms": 20.5},
        ),
        ("arms.t.store=lastn, arms.t.history=3", {"arms.t.store": "lastn", "arms.t.history": 3}),
        ("a.b=[1.0, 0.5],a.c=true", {"a.b": [1.0, 0.5], "a.c": True}),
    ],
)
def test_a_cell_is_read_as_a_file_reads_values(text: str, cell: dict[str, object]) -> None:
    assert parse_cell(text) == cell


@pytest.mark.parametrize("text", ["", "history", "=1", "a.b=", "a.b=x,a.b=y"])
def test_a_malformed_cell_is_refused(text: str) -> None:
    with pytest.raises(SweepError, match="xpected"):
        axes_over([parse_cell(text)])


def test_listed_cells_have_the_same_keys_and_each_is_there_once() -> None:
    assert axes_over([{"a": 1, "b": 2}, {"a": 1, "b": 3}]) == (Axis("a", (1,)), Axis("b", (2, 3)))
    for cells in ([], [{}], [{"a": 1}, {"b": 1}], [{"a": 1}, {"a": 1}]):
        with pytest.raises(SweepError):
            axes_over(cells)


@pytest.mark.parametrize("text", ["", "history", "=1,2", "a.=1", "a.b=", "a.b=1,1"])
def test_a_malformed_axis_is_refused(text: str) -> None:
    with pytest.raises(SweepError, match="xpected"):
        parse_axes([text])


def test_a_grid_has_every_combination_once_and_not_too_many() -> None:
    one, other = Axis("a.b", (1, 2)), Axis("c", ("x", "y"))
    assert cells_of([one, other]) == [
        {"a.b": 1, "c": "x"}, {"a.b": 1, "c": "y"}, {"a.b": 2, "c": "x"}, {"a.b": 2, "c": "y"},
    ]  # fmt: skip
    for axes in ([], [one, one], [Axis("a", tuple(range(50))), Axis("b", tuple(range(21)))]):
        with pytest.raises(SweepError):
            cells_of(axes)


@pytest.mark.parametrize(
    ("values", "columns", "kind"),
    [
        ((50, 200), [50, 200], pa.int64()),
        ((1, 2.5), [1.0, 2.5], pa.float64()),
        ((True, False), [True, False], pa.bool_()),
        (("a", "b"), ["a", "b"], pa.string()),
        ((2.5, "none"), ["2.5", "none"], pa.string()),
        (([1.0], [1.0, 0.5]), ["[1.0]", "[1.0, 0.5]"], pa.string()),
    ],
)
def test_an_axis_is_a_typed_column(
    values: tuple[object, ...], columns: list[object], kind: pa.DataType
) -> None:
    axis = Axis("a.b", values)
    assert [axis.column(value) for value in values] == columns
    assert sweep_schema([axis]).field("a.b").type == kind


def test_axes_of_one_short_name_are_called_by_their_long_ones() -> None:
    axes = [Axis(f"arms.{arm}.history", (50, 200)) for arm in ("control", "treatment")] + [
        Axis(BUDGET, (2, 20))
    ]
    assert heads(axes) == ["control.history", "treatment.history", "budget ms"]
    assert heads(axes[1:]) == ["history", "budget ms"]
    assert in_words(axes[2:], {BUDGET: "auto"}) == "budget auto"
    assert in_words(axes, dict(zip((a.key for a in axes), (50, 200, 20), strict=True))) == (
        "control.history 50, treatment.history 200, budget 20 ms"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (Axis("arms.treatment.histroy", (1, 2)), "did you mean `history`"),
        (Axis("arms.treatment.history", (10, 0)), "axis arms.treatment.history=0"),
        (Axis("traffic.preset", ("demo", "dmeo")), "no preset 'dmeo'"),
        (Axis("experiment.service_times", ("profile", "live")), "laser-ab profile"),
        (Axis("arms.treatment.max_batch", (8, 4096)), "measured"),
        (Axis("arms.treatment.model", ("laser", "vql")), "has no times of"),
    ],
)
def test_a_cell_that_cannot_be_is_refused_before_anything_is_written(
    change: Axis, says: str, tmp_path: Path
) -> None:
    config = load_config(EXAMPLES / "demo.toml", SMALL, environment={})
    with pytest.raises(ValueError, match=says):
        run_sweep(config, [change], tmp_path / "sweep")
    assert not list(tmp_path.iterdir())


def test_lifts_of_too_few_users_or_events_are_null_and_keep_their_truth() -> None:
    value = {"value": 2.0, "ci": None, "true_value": 2.0, "unit": "currency"}

    def lift(users: int, events: int) -> tuple[float | None, ...]:
        entry = {"lift": 0.1, "ci": [0.0, 0.2], "true_lift": 0.05}
        entry["events"] = {"control": 300, "treatment": events}
        arm = {"role": "control", "units": 500, "metrics": {}, "values": {"ctr": value}, "serving": {}}
        treated = {**arm, "role": "treatment", "units": users, "metrics": {"ctr": entry}}
        card = {"arms": {"control": arm, "treatment": treated}}
        (row,) = (row for row in cell_rows(card) if row["metric"] == "ctr_lift")
        return row["value"], row["ci_low"], row["ci_high"], row["true_value"]

    assert lift(100, 20) == (0.1, 0.0, 0.2, 0.05)
    assert lift(99, 20) == (None, None, None, 0.05)
    assert lift(100, 19) == (None, None, None, 0.05)


def test_a_live_sweep_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = load_config(EXAMPLES / "live.toml", [], environment={})
    with pytest.raises(SweepError, match="laser-ab profile"):
        run_sweep(config, (), tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
