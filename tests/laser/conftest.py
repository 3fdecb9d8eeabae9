"""Fixtures shared by the tests of `laser`."""

from __future__ import annotations

import pytest
import torch
from miniature import Miniature, generate
from ranking_batches import ADS, CATEGORIES

from laser.examples import ExampleSet


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_world() -> tuple[ExampleSet, ExampleSet]:
    return generate(Miniature(users=300, length=120, categories=CATEGORIES, ads=ADS), seed=5)
