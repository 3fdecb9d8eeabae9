"""Each of the first I/O calls fails once, for good, or does half: a typed error, and never a wrong read."""

from collections import Counter

import pytest
from counts import FAULTY_CALLS, SCALE
from faulty_io import FAULTS
from nursery import Nurseries, Nursery
from tally import counted

STEPS = 36
A_CHILD = 10


@pytest.fixture(scope="module")
def calls(nursery: Nursery) -> int:
    return int(nursery.value("fault_workload:calls", steps=STEPS))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("fault", "lasting"), [*((fault, False) for fault in FAULTS), ("EIO", True)])
def test_a_failing_call_is_a_typed_error_and_nothing_is_wrong(
    fault: str, lasting: bool, calls: int, nurseries: Nurseries
) -> None:
    count = min(FAULTY_CALLS.now, calls)
    # The first calls in the full run; in the share they are spread over the workload.
    step = max(1, calls // count) if count < FAULTY_CALLS.full else 1
    calls_to_fail = list(range(0, count * step, step * 3 if lasting else step))
    runs = [
        {"calls": calls_to_fail[i : i + A_CHILD], "fault": fault, "steps": STEPS, "lasting": lasting}
        for i in range(0, len(calls_to_fail), A_CHILD)
    ]
    errors: Counter[str] = Counter()
    with counted("failing calls: EIO, short, EINTR, EIO for good") as part:
        for found in nurseries.values("fault_workload:fail_at", runs):
            errors.update(found)
        part.count += len(calls_to_fail)
    # The share is too small to be sure to hit a sync.
    if fault == "EIO" and SCALE != "share":
        assert {"StoreReadOnlyError", "SyncFailedError"} & set(errors), errors
