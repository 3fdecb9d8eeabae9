"""Random operations of every kind, reopening among them: each read is the dict's."""

from collections import Counter

import pytest
from counts import MODEL_OPERATIONS
from nursery import Nurseries
from tally import counted

AN_EPISODE = 1_000


@pytest.mark.timeout(3600)
def test_random_operations_of_every_kind_agree_with_a_dict(nurseries: Nurseries) -> None:
    counts: Counter[str] = Counter()
    episodes = MODEL_OPERATIONS.now // AN_EPISODE
    runs = [{"seed": seed, "operations": AN_EPISODE} for seed in range(episodes)]
    with counted("random operations beside a dict") as part:
        for found in nurseries.values("model_operations:run_episode", runs):
            counts.update(found)
        part.count += counts.total()
    assert counts.total() == MODEL_OPERATIONS.now
