"""No space left: a clean error, nothing half-kept, and the store goes on once there is space."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from counts import FULL_DEVICES, some
from nursery import Nurseries, Nursery
from tally import counted

STEPS = 60


@pytest.mark.timeout(3600)
def test_a_device_that_fills_up_keeps_the_store_whole(nursery: Nursery, nurseries: Nurseries) -> None:
    most, sites = int(nursery.value("fault_workload:taken", steps=STEPS)), FULL_DEVICES.now
    runs = [
        {"left": 200 + turn * (most - 200) // sites, "steps": STEPS, "options": {}} for turn in range(sites)
    ]
    with counted("full devices") as part:
        found = nurseries.values("fault_workload:fill", runs)
        part.count += len(found)
    assert sum(one["refused"] > 0 for one in found) >= 0.9 * sites


@pytest.fixture
def small_device(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", some([96, 256, 1024], 3))
def test_a_really_full_device_keeps_every_acknowledged_append(
    small_device: Path, kilobytes: int, nursery: Nursery
) -> None:
    with counted("full devices") as part:
        filled = nursery.value("fault_workload:fill_really", folder=str(small_device), kilobytes=kilobytes)
        part.count += 1
    assert filled >= 5
