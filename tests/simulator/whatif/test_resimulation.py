"""A finished run asked again: the cell of a sweep with the same settings, to the bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import small
from typer.testing import CliRunner

from simulator import Resimulation, SimulatorError, read_run, read_sweep, run, sweep
from simulator.arms import scores, training
from simulator.cli import app
from simulator.results.axes import Axis
from simulator.results.beside.asked import took
from simulator.results.read import Run
from simulator.whatif.channels import CHANNELS, Channels
from simulator.whatif.resimulation import ResimulationError

# Of a grid, cells where every one of the settings is another than the run's.
AXES = (
    Axis("experiment.budget_ms", (2.0, "auto")),
    Axis("traffic.load", (0.3, 0.9)),
    Axis("arms.treatment.scorers", (1, 2)),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def finished(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASER_AB_CACHE", str(kept))
        patch.setenv("LASER_AB_CACHE_GB", "1")
        return run(small(), tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(autouse=True)
def with_kept_scores(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASER_AB_CACHE", str(kept))
    monkeypatch.setenv("LASER_AB_CACHE_GB", "1")


@pytest.fixture(scope="module")
def asked(finished: Run, kept: Path) -> Resimulation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASER_AB_CACHE", str(kept))
        patch.setenv("LASER_AB_CACHE_GB", "1")
        return Resimulation(finished.path)


def test_without_a_change_the_answer_is_the_run_itself(finished: Run, asked: Resimulation) -> None:
    answer = asked.ask({})
    assert answer.scorecard == finished.scorecard
    assert answer.scored == 0


def test_an_answer_is_the_sweeps_cell_of_the_same_settings(
    finished: Run, asked: Resimulation, tmp_path: Path
) -> None:
    swept = read_sweep(sweep(small(), AXES, tmp_path / "sweep").path)
    places = [(a, b, c) for a in AXES[0].values for b in AXES[1].values for c in AXES[2].values]
    for index in (0, 3, 5, 6):
        changes = {axis.key: value for axis, value in zip(AXES, places[index], strict=True)}
        cell = swept.cell(index)
        assert cell is not None
        # JSON, as a cell is read: the same digits, the same kinds.
        answer = json.loads(json.dumps(asked.ask(changes).scorecard))
        assert {**answer, "run": ""} == {**cell, "run": ""}, changes


def test_other_policies_batches_and_markets_are_answered(asked: Resimulation) -> None:
    own = asked.ask({}).scorecard
    for change in (
        {"arms.treatment.policy": "fifo"},
        {"arms.control.max_batch": 2, "arms.treatment.max_batch": 2},
        {"traffic.requests_per_s": 2000},
        {"market.reserve_ecpm": 100.0},
        {"experiment.salt": "another"},
    ):
        assert asked.ask(change).scorecard["arms"] != own["arms"], change
    assert asked.ask({}).scorecard == own


def test_an_answer_depends_on_no_question_before(finished: Run, asked: Resimulation) -> None:
    questions = [
        {"experiment.budget_ms": 2.0},
        {"market.pcvr": "affinity"},
        {"traffic.load": 0.9, "market.budgets": "unlimited"},
        {"arms.treatment.scorers": 2, "market.pricing": "first"},
        {"market.reserve_ecpm": 100.0, "experiment.engine": "simpy"},
    ]
    for change in questions:
        asked.ask(change)
    for change in reversed(questions):
        fresh = Resimulation(finished.path)
        assert asked.ask(change).scorecard == fresh.ask(change).scorecard, change


def test_nothing_is_trained_and_nothing_known_is_scored(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("this was done by the run")

    monkeypatch.setattr(training, "train", never)
    monkeypatch.setattr(scores, "_scored", never)
    assert Resimulation(finished.path).ask({}).scorecard == finished.scorecard


def test_scores_that_were_not_kept_are_made_again_to_the_same_bits(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LASER_AB_CACHE_GB", "0")
    again = Resimulation(finished.path)
    first, second = again.ask({}), again.ask({})
    assert first.scorecard == second.scorecard == finished.scorecard
    assert first.scored > 0
    assert second.scored == 0


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 8}, "the world"),
        ({"traffic.world.users": 130}, "the world"),
        ({"arms.treatment.history": 80}, "a model"),
        ({"arms.treatment.light_history": 40}, "a model"),
        ({"arms.control.store": "seqvault", "experiment.budget_ms": 5}, "what an arm scores"),
        ({"experiment.service_times": "live"}, "service times"),
        ({"experiment.control": "treatment"}, "the arms"),
    ],
)
def test_what_needs_another_run_is_refused_with_the_sweep_that_answers_it(
    asked: Resimulation, changes: dict[str, object], what: str
) -> None:
    with pytest.raises(SimulatorError, match=what) as refused:
        asked.ask(changes)
    if isinstance(refused.value, ResimulationError):
        assert "laser-ab sweep" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"experiment.budget_ms": -1}, "above 0"),
        ({"arms.treatment.scoerrs": 2}, "did you mean `scorers`"),
        ({"arms.treatment.max_batch": 4096}, "measured"),
    ],
)
def test_impossible_values_are_refused_and_the_next_question_is_answered(
    asked: Resimulation, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(SimulatorError, match=says):
        asked.ask(changes)
    assert asked.ask({}).scorecard["status"] == "finished"


def test_a_run_that_lost_a_model_or_is_not_finished_is_refused(finished: Run, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.path, folder)
    next(folder.glob("models/*.ckpt")).write_bytes(b"something else")
    with pytest.raises(ValueError, match="missing or changed"):
        Resimulation(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "status": "failed"}))
    with pytest.raises(ResimulationError, match="failed"):
        Resimulation(folder)
    assert read_run(finished.path).status == "finished"


def test_the_command_answers_a_line_for_a_line(finished: Run) -> None:
    questions = [
        '{"id": 1, "set": {}}',
        "",
        "what?",
        '{"id": 2, "set": {"seed": 8}}',
        '{"set": {"seed": -1}}',
    ]
    result = CliRunner().invoke(
        app, ["what-if", str(finished.path), "--stdin", "-q"], input="\n".join(questions) + "\n"
    )
    assert result.exit_code == 0, result.output
    ready, own, unread, world, wrong = map(json.loads, result.stdout.splitlines())
    assert ready["ready"]
    assert ready["scorecard"] == own["scorecard"] == finished.scorecard
    assert (own["id"], own["set"], own["scored"]) == (1, {}, 0)
    assert "expected" in unread["error"]
    assert world["id"] == 2
    assert "the world" in world["error"]
    assert "seed" in wrong["error"]


def test_the_command_says_what_it_had_to_score(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["what-if", str(finished.path), "-q", "--json"]
    assert "that no run had kept were scored" not in CliRunner().invoke(app, asked).stderr
    monkeypatch.setenv("LASER_AB_CACHE_GB", "0")
    assert "that no run had kept were scored" in CliRunner().invoke(app, asked).stderr


def test_the_command_answers_one_question_as_a_report(finished: Run) -> None:
    asked = ["what-if", str(finished.path), "--set", "experiment.budget_ms=2", "-q"]
    printed = CliRunner().invoke(app, asked).stdout
    assert printed.startswith("If experiment.budget_ms = 2:")
    assert "Latency budget: 2.00 ms" in printed
    document = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert document["scorecard"]["budget_ms"] == 2.0
    assert CliRunner().invoke(app, [*asked, "--stdin"]).exit_code == 2


class Heard:
    """Progress that is remembered: what is said first, and then another."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int, int]] = []

    def stage(self, name: str, done: int, total: int) -> None:
        if (name, done, total) not in self.said[-1:]:
            self.said.append((name, done, total))


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def parts(asked: Resimulation, heard: Heard) -> list[Channels]:
    return asked.channels(progress=heard)


def test_channels_say_how_far_they_are(parts: list[Channels], heard: Heard) -> None:
    models = next(total for name, _, total in heard.said if name == "train")  # kept ones are not counted
    assert models >= 2
    counted = {"train": models, "score": 8, "worlds": 4}
    expected = [(name, done, total) for name, total in counted.items() for done in range(total + 1)]
    assert [one for one in heard.said if one[0] in counted] == expected


def test_channels_sum_to_the_runs_own_true_lift(finished: Run, parts: list[Channels]) -> None:
    treated = (finished.scorecard or {})["arms"]["treatment"]["metrics"]
    assert {one.metric for one in parts} >= {"advv_per_request", "revenue_per_request", "ctr"}
    for one in parts:
        assert one.lift == pytest.approx(treated[one.metric]["true_lift"], rel=1e-9)
        assert sum(part.log_lift for part in one.parts.values()) == pytest.approx(one.whole.log_lift)
        assert list(one.parts) == list(CHANNELS)
        # The run's own also counts what differs between paths of clicks.
        assert one.whole.se * (1 + one.lift) <= treated[one.metric]["true_se"] * (1 + 1e-9)


def test_prices_move_no_clicks(parts: list[Channels]) -> None:
    # Nobody runs out here, so what is paid decides nothing of what is shown.
    by_name = {one.metric: one for one in parts}
    assert by_name["ctr"].parts["prices"].log_lift == pytest.approx(0, abs=1e-12)
    assert abs(by_name["revenue_per_request"].parts["prices"].log_lift) > 1e-6


def test_channels_are_asked_of_a_treatment_and_in_a_whole_order(asked: Resimulation) -> None:
    with pytest.raises(ResimulationError, match="each of model, history"):
        asked.channels(order=("model", "history"))
    with pytest.raises(ResimulationError, match="expected a treatment: treatment"):
        asked.channels("control")


@pytest.mark.parametrize("order", ["model,model", "model,history,serving,prices,budget", ""])
def test_the_command_refuses_an_order_before_any_work(finished: Run, order: str) -> None:
    result = CliRunner().invoke(app, ["channels", str(finished.path), "--order", order])
    assert result.exit_code == 1
    assert "expected each of model, history, serving, prices, budgets once" in result.stderr
    assert "note:" not in result.stderr


def test_identical_arms_have_no_effect_through_any_channel(kept: Path, tmp_path: Path) -> None:
    same = ["store=lastn", "model=din", "history=50"]
    alike = small(*(f"arms.treatment.{setting}" for setting in same))
    held = Resimulation(run(alike, tmp_path / "run").path)
    assert held.channels_train() == []
    for one in held.channels():
        assert {part.log_lift for part in (one.whole, *one.parts.values())} == {0.0}
        assert {part.se for part in (one.whole, *one.parts.values())} == {0.0}


def test_how_long_a_run_took_is_said_of_what_took_a_second_or_more(finished: Run) -> None:
    stages = [{"name": "train", "seconds": 12.4}, {"name": "serve", "seconds": 0.9}]
    assert took(replace(finished, manifest={"stages": stages})) == "In the run itself training took 12 s."
    assert took(replace(finished, manifest={"stages": stages[1:]})) == ""


def test_the_command_takes_an_effect_apart(finished: Run, parts: list[Channels]) -> None:
    assert [(spec.kind, spec.history) for spec in Resimulation(finished.path).channels_train()] == [
        ("din", 160),
        ("laser", 50),
    ]
    asked = ["channels", str(finished.path)]
    order = "serving,history,model,budgets,prices"
    first = CliRunner().invoke(app, [*asked, "--order", order, "--json"])
    # Before it begins it says what it must train.
    assert "no run has kept their models: din on 160 behaviours, laser on 50 behaviours" in first.stderr
    document = json.loads(first.stdout)
    (treatment,) = document["treatments"]
    assert treatment["order"] == order.split(",")
    for one in parts:  # the whole is the same in any order
        found = treatment["metrics"][one.metric]
        assert sum(part["log_lift"] for part in found["parts"].values()) == pytest.approx(one.whole.log_lift)
    second = CliRunner().invoke(app, asked)
    assert "history" in second.stdout
    assert "every order" in second.stdout
    assert "trained" not in second.stderr  # they are kept now
