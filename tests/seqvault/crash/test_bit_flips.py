"""Damaged files of every kind: no read is silently wrong, nothing crashes, and other users stay readable."""

from collections import Counter

import pytest
from bit_flips import DAMAGES
from counts import BIT_FLIPS, some
from nursery import Nurseries
from specimen import CODECS
from tally import counted

A_CHILD = 500


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("damage", some(DAMAGES, 2))
def test_damage_is_reported_and_never_read_as_data(damage: str, nurseries: Nurseries) -> None:
    # Flips are most of it: a checksum that misses something misses single bits.
    count = BIT_FLIPS.now if damage == "flip" else BIT_FLIPS.now // 10
    each = max(20, min(A_CHILD, count // 4))
    runs = [
        {
            "seed": seed,
            "count": each,
            "codec": CODECS[seed % len(CODECS)],
            "snapshot": seed % 4 == 3,
            "kind": damage,
        }
        for seed in range(-(-count // each))
    ]
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    with counted("flipped bits" if damage == "flip" else "torn, swapped and cut ranges") as part:
        for found in nurseries.values("bit_flips:damage", runs):
            outcomes.update(found["outcomes"])
            wrong += found["wrong"]
        part.count += count if damage == "flip" else outcomes.total()
        part.failed(wrong)
    assert not wrong, f"{len(wrong)} of {outcomes.total()}:\n" + "\n".join(wrong[:5])
    for kind in ("blocks reported", "footer salvaged", "manifest refused"):
        assert outcomes[kind], outcomes
    assert outcomes["log refused"] or damage != "flip", outcomes
