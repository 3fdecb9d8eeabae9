import re
import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.config.load import (
    ConfigError,
    ExperimentConfig,
    load_config,
    parse_config,
    to_toml,
    world_config,
)
from simulator.config.toml_writer import write_toml

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
TEMPLATE = ROOT / "simulator" / "examples" / "template.toml"

SMALL = """seed = 3
[traffic]
preset = "demo"
[arms.control]
store = "lastn"
model = "din"
history = 50
[arms.treatment]
store = "seqvault"
model = "laser"
history = 1000
"""


@pytest.mark.parametrize("path", [*EXAMPLES, TEMPLATE], ids=lambda path: path.stem)
def test_shipped_files_are_valid(path: Path, kuairand_log: Path) -> None:
    config = load_config(
        path,
        [f"traffic.log={kuairand_log}"] if path.stem in ("kuairand", "complete-journey") else [],
        environment={},
    )
    assert parse_config(to_toml(config)) == config


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        "demo",
        "aa",
        "three-arms",
        "live",
        "short-deadline",
        "complete-journey",
        "kuairand",
    }


@pytest.mark.parametrize("name", ["demo", "kuairand", "complete-journey"])
def test_the_packaged_examples_are_the_repositorys(name: str) -> None:
    packaged, own = (ROOT / folder / f"{name}.toml" for folder in ("simulator/examples", "examples"))
    assert packaged.read_bytes() == own.read_bytes()


def test_the_templates_comments_are_the_defaults() -> None:
    plain = TEMPLATE.read_text(encoding="utf-8")
    lines = [
        line.removeprefix("# ") if line.startswith(("# [", "# ")) else line for line in plain.splitlines()
    ]
    settings = [line for line in lines if line.startswith("[") or " = " in line.partition("#")[0]]
    skipped = (
        "checkpoint",
        "training_seed",
        "salt",
        "treatment_share",
        "requests_per_s",
        "pre_days",
        "days",
        "slots",
        "sequential",
        "winsorise",
        "summary",
        "users",
        "requests",
        "--set",
    )
    skipped += (
        "history_max",
        "candidates",
        "batch",
        "learning_rate",
        "log",
        "like",
        "holdout_days",
        "arrivals",
        "bids",
    )
    full = "\n".join(line for line in settings if not line.startswith(skipped))
    assert parse_config(full).model_copy(update={"traffic": None}) == parse_config(plain).model_copy(
        update={"traffic": None}
    )


def test_the_template_names_every_setting() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    names: set[str] = set()
    for table in ExperimentConfig.model_json_schema()["$defs"].values():
        names |= set(table["properties"])
    assert {name for name in names if not re.search(rf"\b{name}( =|\])", text)} == set()


def test_control_split_and_name_are_resolved() -> None:
    config = parse_config(SMALL, source="folder/mine.toml")
    assert config.experiment.control == "control"
    assert config.experiment.split == {"control": 0.5, "treatment": 0.5}
    assert config.experiment.name == "mine"
    assert (config.training_seed, config.salt) == (3, "3")


def test_a_treatments_share_is_a_split() -> None:
    three = ["arms.third={store='lastn',model='din',history=20}", "experiment.treatment_share=0.1"]
    config = parse_config(SMALL, overrides=three)
    assert config.experiment.split == pytest.approx({"control": 0.9, "treatment": 0.05, "third": 0.05})
    assert parse_config(to_toml(config)) == config


def test_a_rate_takes_the_place_of_the_load() -> None:
    config = parse_config(SMALL, overrides=["traffic.requests_per_s=100.0"])
    assert (config.traffic.load, config.traffic.requests_per_s) == (None, 100.0)
    assert parse_config(to_toml(config)) == config
    assert parse_config(SMALL).traffic.load == 0.6


@pytest.mark.parametrize(
    ("both", "named"),
    [
        (["traffic.load=0.5", "traffic.requests_per_s=100.0"], "requests_per_s"),
        (
            ["experiment.split={control=0.5,treatment=0.5}", "experiment.treatment_share=0.1"],
            "treatment_share",
        ),
    ],
)
def test_two_settings_of_one_thing_are_refused(both: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named}.*leave the other out"):
        parse_config(SMALL, overrides=both)


def test_control_comes_first_wherever_it_stands() -> None:
    config = parse_config(SMALL, overrides=["experiment.control=treatment"])
    assert config.arm_names == ("treatment", "control")


def test_flags_win_over_environment_and_environment_over_file() -> None:
    text = SMALL + "[experiment]\nlevel = 0.8\n"
    environment = {"LASER_AB_EXPERIMENT__LEVEL": "0.9", "LASER_AB_SEED": "4", "LASER_AB_DEBUG": "1"}
    assert parse_config(text).experiment.level == 0.8
    config = parse_config(text, environment=environment)
    assert (config.experiment.level, config.seed) == (0.9, 4)
    config = parse_config(text, environment=environment, overrides=["experiment.level=0.99", "seed=5"])
    assert (config.experiment.level, config.seed) == (0.99, 5)
    assert parse_config(text, environment=environment, overrides=["seed=5"], seed=6).seed == 6


def test_the_process_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").write_text(SMALL)
    monkeypatch.setenv("LASER_AB_TRAFFIC__LOAD", "0.7")
    assert load_config(tmp_path / "a.toml").traffic.load == 0.7


def test_an_override_may_be_toml_or_plain_text() -> None:
    overrides = [
        "arms.control.training={lengths = [1.0], batch = 4}",
        "experiment.name=two words",
        'arms.control.store_options.layout="behaviours"',
        "experiment.budget_ms=none",
    ]
    config = parse_config(SMALL, overrides=overrides)
    assert config.arms["control"].training.lengths == (1.0,)
    assert config.experiment.name == "two words"
    assert config.arms["control"].store_key == "lastn/behaviours"
    assert config.experiment.budget_s is None


def test_budgets_are_seconds_inside() -> None:
    assert parse_config(SMALL, overrides=["experiment.budget_ms=12"]).experiment.budget_s == 0.012
    with pytest.raises(ValueError, match="auto"):
        _ = parse_config(SMALL).experiment.budget_s


def test_a_new_arm_can_come_from_flags_alone() -> None:
    overrides = [f"arms.third.{pair}" for pair in ("store=memory", "model=base", "history=1")]
    config = parse_config(SMALL, overrides=overrides)
    assert list(config.arms) == ["control", "treatment", "third"]
    assert config.experiment.split["third"] == pytest.approx(1 / 3)


def test_paths_are_relative_to_who_wrote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    (folder / "a.toml").write_text(SMALL + 'checkpoint = "m.ckpt"\n[experiment]\nprofile = "p.json"\n')
    config = load_config(folder / "a.toml", environment={})
    assert config.experiment.profile_path == folder / "p.json"
    assert config.arms["treatment"].checkpoint == str(folder / "m.ckpt")
    config = load_config(folder / "a.toml", ["experiment.profile=q.json"], environment={})
    assert config.experiment.profile_path == tmp_path / "q.json"


def test_the_default_profile_is_a_shipped_one() -> None:
    assert parse_config(SMALL).experiment.profile_path == ROOT / "simulator" / "profiles" / "cpu.json"


def test_days_slots_and_world_parameters_reach_the_world() -> None:
    overrides = ["experiment.days=3", "market.slots=2", "traffic.world.users=77", "traffic.world.bA=0.1"]
    world = world_config(parse_config(SMALL, overrides=overrides))
    assert (world.days, world.slots, world.users, world.bA) == (3, 2, 77, 0.1)


def test_the_schema_names_every_table() -> None:
    schema = ExperimentConfig.model_json_schema()
    assert set(schema["properties"]) == {"seed", "experiment", "traffic", "arms", "market", "guardrails"}
    assert schema["additionalProperties"] is False


def test_the_schema_and_the_template_describe_every_setting() -> None:
    schema = ExperimentConfig.model_json_schema()
    for name, table in {"": schema, **schema["$defs"]}.items():
        for key, value in table["properties"].items():
            described = schema["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else value
            assert described.get("description"), f"{name}.{key}"
    for line in TEMPLATE.read_text(encoding="utf-8").splitlines():
        setting, _, description = line.removeprefix("# ").partition("#")
        assert description.strip() or " = " not in setting or "--set" in line, line


def test_configurations_cannot_be_changed() -> None:
    config = parse_config(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # type: ignore[misc]


def test_a_copied_resolved_file_gives_the_same_run(tmp_path: Path) -> None:
    config = parse_config(
        SMALL, overrides=["experiment.days=2", "experiment.split={control=0.3,treatment=0.7}"]
    )
    (tmp_path / "experiment.toml").write_text(to_toml(config))
    shutil.copy(tmp_path / "experiment.toml", tmp_path / "other.toml")
    assert load_config(tmp_path / "other.toml", environment={}) == config


keys = st.text(min_size=1, max_size=6)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=20)
tables = st.recursive(
    scalars | st.lists(scalars, max_size=3),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(keys, tables, max_size=4))
def test_written_toml_reads_back(table: dict[str, object]) -> None:
    def without_empty(value: object) -> object:
        if not isinstance(value, dict):
            return value
        kept = {key: without_empty(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner != {}}

    assert without_empty(tomllib.loads(write_toml(table))) == without_empty(table)


def test_a_value_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        write_toml({"a": b"x"})


def test_names_of_stores_and_models_are_those_of_the_packages() -> None:
    # The configuration repeats them, since asking laser would load torch.
    from laser.models.registry import BUILT_IN
    from seqvault.store import store_kinds
    from simulator.config.settings import MODELS, STORES

    assert set(MODELS) == set(BUILT_IN)
    assert set(STORES) <= set(store_kinds())


def test_config_errors_are_value_errors() -> None:
    assert issubclass(ConfigError, ValueError)
