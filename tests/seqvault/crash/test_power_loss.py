"""Power is lost while a store is written: nothing acknowledged is missing from any disk that may be left."""

from pathlib import Path

import pytest
from counts import POWER_LOSSES
from nursery import Nurseries
from tally import counted

STATES_A_RUN = 20


@pytest.mark.timeout(3600)
def test_no_acknowledged_operation_is_lost_with_the_power(nurseries: Nurseries, device_path: Path) -> None:
    runs = [
        {"seed": seed, "states": STATES_A_RUN, "kept": str(device_path)}
        for seed in range(-(-POWER_LOSSES.now // STATES_A_RUN))
    ]
    with counted("loss of power") as part:
        failures = [line for found in nurseries.values("power_loss:lose_power", runs) for line in found]
        part.count += STATES_A_RUN * len(runs)
        part.failed(failures)
    assert not failures, f"{len(failures)} states of {POWER_LOSSES.now}:\n" + "\n".join(failures[:5])
