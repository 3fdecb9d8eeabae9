"""The log cut at every byte of its last three records holds the exact prefix, and is written on."""

import pytest
from counts import SCALE, some
from nursery import Nursery
from tally import counted
from wal_cuts import DAMAGES, STREAMS


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stream", some(range(len(STREAMS)), 3))
def test_log_cut_at_every_byte_of_its_last_records_gives_the_exact_prefix(
    stream: int, damage: str, nursery: Nursery
) -> None:
    step = 37 if SCALE == "share" else 1
    with counted("log cut at a byte") as part:
        cuts, failures = nursery.value(
            "wal_cuts:cut_everywhere", stream_index=stream, damage=damage, step=step
        )
        part.count += cuts
        part.failed(failures)
    assert not failures, f"{len(failures)} cuts:\n" + "\n".join(failures[:5])
