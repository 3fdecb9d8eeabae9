"""Stores of these tests lie in memory where there is room: a sync costs nothing there.

None of them tests a device; those that want one all the same ask for `device_path`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_SHM = Path("/dev/shm")
# Containers often have a small one.
_ROOM_BYTES = 1 << 30


@pytest.fixture
def device_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new folder on whatever device temporary files are on."""
    return tmp_path_factory.mktemp("device")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A new folder, in memory where possible."""
    roomy = _SHM.is_dir() and shutil.disk_usage(_SHM).free >= _ROOM_BYTES
    with tempfile.TemporaryDirectory(prefix="seqvault-", dir=_SHM if roomy else None) as folder:
        yield Path(folder)
