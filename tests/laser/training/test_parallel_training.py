"""Two processes train the model that one does."""

from __future__ import annotations

import atexit
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
from torch import distributed

ROOT = Path(__file__).parents[3]
# A key's bias cancels in a softmax: its gradient is rounding, which Adam makes as large as any other.
OF_NO_EFFECT = {"vista": ("decoder.key.bias",)}


def started(command: list[str], **environment: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parents[1])])
    return subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    told = process.communicate(timeout=900)[1]
    assert process.returncode == 0, told[-2000:]


def with_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and another one, in the environment that torchrun gives its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    other = started([parallel_script.__file__, str(folder), *KINDS], RANK="1", LOCAL_RANK="1", **place)
    for name, value in {**place, "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    try:
        parallel_script.trained(folder, list(KINDS))
    finally:  # the tests after this one are alone again
        distributed.destroy_process_group()
        atexit.unregister(distributed.destroy_process_group)
    finish(other)


def by_torchrun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finish(started([*launcher, parallel_script.__file__, str(folder), *KINDS]))


@pytest.mark.parametrize("run", [with_another, pytest.param(by_torchrun, marks=pytest.mark.slow)])
def test_two_processes_end_with_the_weights_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    parallel_script.trained(tmp_path / "one", list(KINDS))
    run(tmp_path / "two", monkeypatch)
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
