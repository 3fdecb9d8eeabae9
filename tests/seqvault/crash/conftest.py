"""Nurseries for the whole session: imports and kernels are paid once."""

from collections.abc import Iterator

import pytest
from nursery import Nurseries, Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as started:
        yield started


@pytest.fixture(scope="session")
def nurseries(nursery: Nursery) -> Iterator[Nurseries]:
    with Nurseries(nursery) as started:
        yield started
