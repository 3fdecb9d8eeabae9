"""Two processes train the model that one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import numpy as np
import torch
from miniature import Miniature, generate
from ranking_batches import ADS, CATEGORIES, config
from laser.training.loop import TrainConfig, train
from laser.training.parallel import rank

examples, _ = generate(Miniature(users=60, length=60, categories=CATEGORIES, ads=ADS), seed=5)
for kind in sys.argv[2:]:
    # 240 requests in batches of 49: shares differ in size, and a process may hold one request fewer.
    how = TrainConfig(40, batch=49, held_out=0.1, checks=2, learning_rate=1e-3, clip=1.0)
    losses = []
    model = train(config(kind, width=8), how, examples, seed=3, progress=lambda *at: losses.append(at[2]))
    state = {name: value for name, value in model.state_dict().items()}
    torch.save({"state": state, "losses": losses}, f"{sys.argv[1]}/{kind}-{rank()}.pt")
"""


def run(command: list[str], folder: Path, kinds: list[str]) -> None:
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [*command, str(script), str(folder), *kinds],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    kinds = ["laser", "vql"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run([sys.executable], tmp_path / "one", kinds)
    run([sys.executable, *torchrun], tmp_path / "two", kinds)
    for kind in kinds:
        one, first, second = (
            torch.load(tmp_path / at, weights_only=True)
            for at in (f"one/{kind}-0.pt", f"two/{kind}-0.pt", f"two/{kind}-1.pt")
        )
        for name, value in one["state"].items():
            torch.testing.assert_close(first["state"][name], value, rtol=0, atol=2e-6, msg=f"{kind} {name}")
            assert torch.equal(first["state"][name], second["state"][name])
        assert first["losses"] == pytest.approx(one["losses"], rel=1e-5)
        assert second["losses"] == []
