"""A small log in KuaiRand's format, imported once for all tests. Being here puts its maker on the path."""

from pathlib import Path

import pytest
from kuairand_files import write_kuairand


@pytest.fixture(scope="session")
def kuairand_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log folder of six days; do not change it."""
    from simulator.logs.kuairand.importer import import_kuairand

    folder = tmp_path_factory.mktemp("kuairand")
    write_kuairand(folder / "published")
    import_kuairand(folder / "published", folder / "log")
    return folder / "log"
