"""The model of docs/models.md, 30 lines of a user's own, becomes an arm."""

import re
import sys
from pathlib import Path

import pytest

from simulator.config.load import parse_config
from simulator.experiment.run import run_experiment
from simulator.results.read import read_run

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
EXPERIMENT = """
seed = 7
[experiment]
service_times = "live"
device = "cpu"
days = 1
pre_days = 1
[traffic]
preset = "demo"
load = 0.2
[traffic.world]
users = 60
requests = 120
history_max = 100
candidates = 8
[arms.control]
store = "memory"
model = "base"
history = 1
light_model = "none"
"""


def test_the_pages_own_model_serves_an_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (mine,) = re.findall(r"```toml\n(\[arms\.mine\].*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_ranker.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_ranker", raising=False)
    config = parse_config(EXPERIMENT + mine + 'light_model = "none"\nmodel_options = {heads = 4}\n')
    run = read_run(run_experiment(config, tmp_path / "run", jobs=1))
    assert run.status == "finished"
    served = run.table("served", ["arm", "step_name"])
    steps = {step for arm, step in zip(*served.to_pydict().values(), strict=True) if arm == "mine"}
    assert "full" in steps
    assert [entry["model"] for entry in run.arms] == ["base", "my_ranker:TorchAttention"]
