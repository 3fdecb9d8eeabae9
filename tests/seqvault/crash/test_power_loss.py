"""Power is lost while a store is written: nothing acknowledged is missing from any disk that may be left."""

from pathlib import Path

import pytest
from counts import POWER_LOSSES
from nursery import Nurseries

STATES_A_RUN = 20


@pytest.mark.timeout(3600)
def test_no_acknowledged_operation_is_lost_with_the_power(nurseries: Nurseries, tmp_path: Path) -> None:
    runs = [
        {"seed": seed, "states": STATES_A_RUN, "kept": str(tmp_path)}
        for seed in range(-(-POWER_LOSSES.now // STATES_A_RUN))
    ]
    failures = [line for found in nurseries.values("power_loss:lose_power", runs) for line in found]
    assert not failures, f"{len(failures)} states of {POWER_LOSSES.now}:\n" + "\n".join(failures[:5])
