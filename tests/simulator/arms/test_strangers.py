"""The model and the store of docs/plugins.md, one file each: measured, then run with that profile."""

import json
import re
import sys
from pathlib import Path

import pytest
from small_runs import call

from simulator.results.read import read_run

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
EXPERIMENT = """
seed = 7
[experiment]
device = "cpu"
days = 1
pre_days = 1
{profile}
[traffic]
preset = "demo"
load = 0.3
[traffic.world]
users = 60
requests = 120
history_max = 60
candidates = 8
[arms.control]
store = "memory"
model = "base"
history = 1
light_model = "none"
[arms.mine]
store = "{store}"
model = "{model}"
history = 40
light_model = "none"
max_batch = 1
{options}
"""
BLOCKS = dict(re.findall(r"```python\n# my_package/(\w+)\.py\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize(
    ("module", "store", "model", "options"),
    [
        ("ranker", "memory", "my_package.ranker:SameCategory", "model_options = { hidden = 8 }"),
        ("store", "my_package.store:DictStore", "base", ""),
    ],
)
def test_one_file_is_enough_for_a_part_of_ones_own_profile_included(
    module: str, store: str, model: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / f"{module}.py").write_text(BLOCKS[module])
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_package", f"my_package.{module}"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    file = tmp_path / "mine.toml"

    def experiment(profile: str) -> None:
        file.write_text(EXPERIMENT.format(profile=profile, store=store, model=model, options=options))

    experiment("")
    assert "has no times of" in call("run", file, "--out", tmp_path / "early", code=2)
    call("profile", file, "--quick", "--out", tmp_path / "mine.json")
    measured = json.loads((tmp_path / "mine.json").read_text())
    assert store in measured["store"]
    assert any(key.startswith(f"{model}/16") for key in measured["score"])

    experiment('profile = "mine.json"')
    call("run", file, "--out", tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert run.status == "finished"
    assert [(arm["store"], arm["model"]) for arm in run.arms] == [("memory", "base"), (store, model)]
    served = run.table("served", ["arm", "step_name"]).to_pydict()
    assert "full" in {step for arm, step in zip(*served.values(), strict=True) if arm == "mine"}
    for name in ("my_package", f"my_package.{module}"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_options", "{ hiden = 8 }", "has no option ['hiden'], expected some of"),
        ("store_options", "{ colour = 1 }", "got options ['colour']"),
    ],
)
def test_a_misspelt_option_is_the_users_mistake(
    key: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_parts.py").write_text(BLOCKS["ranker"] + BLOCKS["store"])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    file = tmp_path / "mine.toml"
    file.write_text(
        EXPERIMENT.format(
            profile='service_times = "live"',
            store="my_parts:DictStore",
            model="my_parts:SameCategory",
            options=f"{key} = {value}",
        )
    )
    assert said in call("run", file, "--out", tmp_path / "run", code=1)
    sys.modules.pop("my_parts", None)
