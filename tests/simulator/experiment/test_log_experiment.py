"""Experiments on a real log: the file's settings, the run, and what its scorecard admits."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from kuairand_files import log_lines, write_kuairand
from small_runs import EXAMPLES, table_bytes

from simulator.arms.plan import make_plan
from simulator.config.load import (
    ConfigError,
    ExperimentConfig,
    load_config,
    log_split,
    parse_config,
    to_toml,
    world_config,
)
from simulator.experiment.remarks import history_remark, remarks
from simulator.experiment.run import run_experiment
from simulator.inputs.worlds import world_notes
from simulator.logs.table.shipped import import_kuairand
from simulator.results.read import Run, read_run
from simulator.results.report import render


def on_log(log: Path, *overrides: str) -> ExperimentConfig:
    return load_config(EXAMPLES / "kuairand.toml", [f"traffic.log={log}", *overrides], environment={})


@pytest.fixture(scope="module")
def run(kuairand_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(run_experiment(on_log(kuairand_log), tmp_path_factory.mktemp("kuairand-run") / "run"))


def test_a_run_on_a_log_ends_with_a_verdict_and_notes(run: Run) -> None:
    assert run.status == "finished"
    assert run.scorecard["verdict"]["text"]
    assert run.scorecard["metrics"]["ctr"]["true_lift"] is not None
    notes = " ".join(run.scorecard["notes"])
    for invented in (
        "tCPA",
        "budgets",
        "Candidates",
        "regression",
        "propensity",
        "conversion is a long view",
    ):
        assert invented in notes
    assert "a real log (KuaiRand, 2022-04-25 to 2022-04-30)" in notes
    assert "median" in notes
    assert "P99" in notes
    assert "cannot show what a longer history gains" in notes


@pytest.mark.parametrize("form", ["table", "text"])
def test_reports_print_the_notes(run: Run, form: str) -> None:
    words = " ".join(render(run.scorecard, form).split())
    for note in run.scorecard["notes"]:
        assert note in words


def test_the_manifest_says_which_log_and_how_it_was_cut(run: Run) -> None:
    world = json.loads((run.path / "manifest.json").read_text())["world"]
    assert world["log"] == "log"
    assert len(world["log_manifest_sha256"]) == 64
    assert world["split_days"] == {"training": 3, "holdout": 1, "pre": 1, "experiment": 1}
    assert world["response"]["quality"]["click"]["last_day"]["auc"] > 0.5
    assert "CC BY-SA" in world["licence"]


def test_the_same_log_and_seed_give_the_same_bytes(run: Run, kuairand_log: Path, tmp_path: Path) -> None:
    again = run_experiment(on_log(kuairand_log), tmp_path / "run")
    assert table_bytes(again) == table_bytes(run.path)


def test_users_and_days_of_the_run_are_the_logs(run: Run, kuairand_log: Path) -> None:
    prepared = make_plan(on_log(kuairand_log)).prepared
    served = run.table("served").to_pandas().query("assigned and period == 'experiment'")
    expected = prepared.requests.request_id[prepared.in_experiment]
    assert sorted(served.request_id) == expected.tolist()


def test_histories_long_enough_are_not_excused(kuairand_log: Path) -> None:
    plan = make_plan(on_log(kuairand_log, "arms.treatment.history=5"))
    shorter = replace(plan.prepared, history_available=plan.prepared.history_available.clip(max=4))
    assert "cannot show" not in history_remark(plan.prepared, plan.treatments)
    assert "cannot show" in history_remark(shorter, plan.treatments)


@pytest.mark.parametrize("traffic", ['preset = "feed"', 'preset = "demo"\nlike = "KuaiRand (CC BY-SA 4.0)"'])
def test_a_generated_world_like_a_log_says_so_and_names_its_licence(traffic: str) -> None:
    config = parse_config(
        f"[traffic]\n{traffic}\n" + (EXAMPLES / "kuairand.toml").read_text().partition("load = 0.15")[2],
        environment={},
    )
    plan = make_plan(config)
    (note,) = remarks(plan)
    assert note.startswith("Traffic: a generated world like the log KuaiRand (CC BY-SA 4.0")
    assert note.endswith("Users, ads, histories and clicks are drawn: no row is the log's.")
    assert "On the log KuaiRand (CC BY-SA" in world_notes(config, plan.world)["calibration"]


def test_a_log_is_not_like_a_log(kuairand_log: Path) -> None:
    with pytest.raises(ConfigError, match="which log a generated world resembles, and this traffic is a log"):
        on_log(kuairand_log, "traffic.like=shop")


def test_generated_worlds_need_no_notes() -> None:
    config = load_config(
        EXAMPLES / "demo.toml", ["traffic.world.users=30", "traffic.world.requests=50"], environment={}
    )
    assert remarks(make_plan(config)) == []


def test_the_days_can_be_cut_otherwise(kuairand_log: Path) -> None:
    overrides = ("experiment.days=2", "experiment.pre_days=1", "traffic.holdout_days=1", "market.slots=3")
    config = on_log(kuairand_log, *overrides)
    assert log_split(config, 6).holdout == 2
    prepared = make_plan(config).prepared
    assert set(prepared.requests.day[prepared.in_experiment]) == {4, 5}
    assert set(prepared.requests.slots) == {3}


def test_the_resolved_file_gives_the_same_configuration(kuairand_log: Path) -> None:
    config = on_log(kuairand_log)
    assert parse_config(to_toml(config)) == config


def test_a_logs_path_is_relative_to_who_wrote_it(
    kuairand_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "kuairand.toml").write_bytes((EXAMPLES / "kuairand.toml").read_bytes())
    (folder / "kuairand-log").symlink_to(kuairand_log)
    assert load_config(folder / "kuairand.toml", environment={}).traffic.log == str(kuairand_log)
    monkeypatch.chdir(kuairand_log.parent)
    config = load_config(folder / "kuairand.toml", ["traffic.log=log"], environment={})
    assert config.traffic.log == str(kuairand_log)


def test_a_missing_log_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(EXAMPLES / "kuairand.toml", environment={})
    (found,) = error.value.problems
    assert "laser-ab import" in found.message
    assert found.place is not None
    assert found.line_text.startswith("log = ")
    with pytest.raises(ConfigError, match=r"has no manifest\.json"):
        on_log(tmp_path)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("traffic.preset=demo", "found both `preset` and `log`"),
        ("traffic.world.users=30", "a log has none"),
        ("experiment.days=5", "left for training"),
        ("traffic.holdout_days=0", "greater than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit_a_log_are_refused(kuairand_log: Path, override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        on_log(kuairand_log, override)


def test_holdout_days_are_a_logs(kuairand_log: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[traffic.world\]"):
        load_config(EXAMPLES / "demo.toml", ["traffic.holdout_days=1"], environment={})
    with pytest.raises(ValueError, match="log_split"):
        world_config(on_log(kuairand_log))
    with pytest.raises(ValueError, match="world_config"):
        log_split(load_config(EXAMPLES / "demo.toml", environment={}), 6)


def test_a_period_nothing_can_be_learnt_from_is_named(tmp_path: Path) -> None:
    # Nobody clicks on the fourth day.
    lines = log_lines()
    fields = [line.split(",") for line in lines]
    midnight_ms = 1_650_816_000_000
    for row in fields:
        if (int(row[4]) - midnight_ms) // 86_400_000 == 3:
            row[5] = "0"
    write_kuairand(tmp_path / "in", [",".join(row) for row in fields])
    import_kuairand(tmp_path / "in", tmp_path / "log")
    with pytest.raises(ValueError, match="held-out days of the log"):
        _ = make_plan(on_log(tmp_path / "log")).prepared
