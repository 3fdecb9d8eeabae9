"""Two processes train the model that one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import parallel_script
import pytest
import torch
from ranking_batches import KINDS

ROOT = Path(__file__).parents[2]
# A key's bias cancels in a softmax: its gradient is rounding, which Adam makes as large as any other.
OF_NO_EFFECT = {"vista": ("decoder.key.bias",)}


def finish(processes: list[subprocess.Popen[str]]) -> None:
    told = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), told[0][-2000:]


def started(command: list[str], **environment: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_two(folder: Path) -> None:
    """Two processes in the environment that torchrun gives its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [parallel_script.__file__, str(folder), *KINDS]
    finish([started(command, RANK=rank, LOCAL_RANK=rank, **place) for rank in ("0", "1")])


def run_torchrun(folder: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finish([started([*launcher, parallel_script.__file__, str(folder), *KINDS])])


@pytest.mark.parametrize("run", [run_two, pytest.param(run_torchrun, marks=pytest.mark.slow)])
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path, run: Callable[[Path], None]) -> None:
    parallel_script.trained(tmp_path / "one", list(KINDS))
    run(tmp_path / "two")
    for kind in KINDS:
        one, first, second = (
            torch.load(tmp_path / at, weights_only=True)
            for at in (f"one/{kind}-0.pt", f"two/{kind}-0.pt", f"two/{kind}-1.pt")
        )
        for name, value in one["state"].items():
            assert torch.equal(first["state"][name], second["state"][name])
            if name not in OF_NO_EFFECT.get(kind, ()):
                torch.testing.assert_close(
                    first["state"][name], value, rtol=0, atol=2e-6, msg=f"{kind} {name}"
                )
        assert first["losses"] == pytest.approx(one["losses"], rel=1e-5)
        assert second["losses"] == []
