"""Format fuzzing from real files, checksums made right again: errors and answers, but no crash."""

from collections import Counter
from pathlib import Path

import pytest
from counts import FUZZ_SECONDS
from nursery import Nursery
from tally import counted

A_CHILD_S = 5.0
# A child that takes so much longer hangs.
PATIENCE_S = 60.0


@pytest.mark.timeout(2 * 3600)
@pytest.mark.parametrize("what", ["fuzz_blocks", "fuzz_records"])
def test_decoders_stay_within_their_memory_and_agree_with_their_twins(what: str, nursery: Nursery) -> None:
    counts = fuzz(nursery, f"block_fuzz:{what}", FUZZ_SECONDS.now / 6)
    assert counts.total() > 0


@pytest.mark.timeout(2 * 3600)
def test_a_store_of_malformed_files_answers_or_raises_a_store_error(nursery: Nursery, tmp_path: Path) -> None:
    counts = fuzz(nursery, "store_fuzz:fuzz_store", FUZZ_SECONDS.now * 2 / 3, note=str(tmp_path / "note"))
    assert counts.total() > 0
    for change in ("block reported", "footer refused", "record refused", "manifest refused"):
        assert counts[change], counts


def fuzz(nursery: Nursery, call: str, seconds: float, **arguments: str) -> Counter[str]:
    """Children one after the other until the time is up; each must return."""
    counts: Counter[str] = Counter()
    seed = 0
    with counted("malformed files, valid checksums") as part:
        while seconds > 0:
            turn_s = min(A_CHILD_S, seconds)
            ended = nursery.run(call, turn_s + PATIENCE_S, seed=seed, seconds=turn_s, **arguments)
            last = Path(arguments["note"]).read_text() if "note" in arguments else ""
            assert ended["end"] == "returned", f"{call} {last}: {ended['end']}\n{ended.get('text', '')}"
            counts.update(ended["value"])
            seconds -= turn_s
            seed += 1
        part.count += counts.total()
    return counts
