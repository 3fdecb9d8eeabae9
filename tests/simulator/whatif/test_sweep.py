"""Sweeps: the grid, what a cell shares with a run, and what a budget does."""

from pathlib import Path

import numpy as np
import pytest

from simulator.config.load import load_config
from simulator.experiment.run import run_experiment
from simulator.results.read import Sweep, read_run, read_sweep
from simulator.whatif.budgets import SweepError, parse_budgets
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
    return read_sweep(run_sweep(config, "auto", tmp_path_factory.mktemp("sweep") / "sweep"))


def series(sweep: Sweep, arm: str, metric: str, column: str = "value") -> np.ndarray:
    rows = sweep.table("sweep").to_pandas()
    rows = rows[(rows.arm == arm) & (rows.metric == metric)].sort_values("budget_ms")
    return rows[column].to_numpy(dtype=float)


def test_an_auto_sweep_spans_a_third_to_three_times_the_unloaded_p95(sweep: Sweep) -> None:
    p95_ms = sweep.manifest["unloaded_p95_ms"]
    budgets = np.unique(sweep.table("sweep").to_pandas().budget_ms)
    assert budgets[0] == pytest.approx(0.3 * p95_ms)
    assert budgets[-1] == pytest.approx(3.0 * p95_ms)


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
    budget_ms = float(np.unique(sweep.table("sweep").to_pandas().budget_ms)[5])
    config = load_config(
        EXAMPLES / "demo.toml", [*SMALL, f"experiment.budget_ms={budget_ms!r}"], environment={}
    )
    run = read_run(run_experiment(config, tmp_path / "run"))
    cell = sweep.cell(5)
    assert cell is not None
    for name, entry in run.scorecard["metrics"].items():
        assert cell["metrics"][name] == entry


def test_each_cell_tells_its_own_load_and_the_sweep_whose_service_times(sweep: Sweep) -> None:
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
    again = run_sweep(config, "auto", tmp_path / "sweep", jobs=2)
    assert (again / "sweep.parquet").read_bytes() == (sweep.path / "sweep.parquet").read_bytes()


def test_a_grid_has_both_its_ends() -> None:
    assert parse_budgets("2:6:2").tolist() == [2.0, 4.0, 6.0]
    assert len(parse_budgets("1:1000:1")) == 1000
    assert parse_budgets("0.1:0.3:0.1").tolist() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "text",
    ["", "5", "1:2", "3:2:1", "0:2:1", "1:2:0", "a:b:c", "1:1e9:0.1", "nan:2:1", "1:2:1e-320", "1:1001:1"],
)
def test_a_malformed_grid_is_refused(text: str) -> None:
    with pytest.raises(SweepError, match="xpected"):
        parse_budgets(text)


def test_lifts_of_too_few_users_are_null_and_keep_their_truth() -> None:
    entry = {"lift": 0.1, "ci": [0.0, 0.2], "true_lift": 0.05}
    value = {"value": 2.0, "ci": None, "true_value": 2.0, "unit": "currency"}

    def lift(users: int) -> tuple[float | None, ...]:
        arm = {"role": "control", "units": 500, "metrics": {}, "values": {"ctr": value}, "serving": {}}
        treated = {**arm, "role": "treatment", "units": users, "metrics": {"ctr": entry}}
        card = {"arms": {"control": arm, "treatment": treated}}
        (row,) = (row for row in cell_rows(0, 20.0, card) if row["metric"] == "ctr_lift")
        return row["value"], row["ci_low"], row["ci_high"], row["true_value"]

    assert lift(100) == (0.1, 0.0, 0.2, 0.05)
    assert lift(99) == (None, None, None, 0.05)


def test_a_live_sweep_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = load_config(EXAMPLES / "live.toml", [], environment={})
    with pytest.raises(SweepError, match="laser-ab profile"):
        run_sweep(config, "auto", tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
