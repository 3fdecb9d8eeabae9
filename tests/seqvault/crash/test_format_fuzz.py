"""Format fuzzing from real files, checksums made right again: errors and answers, but no crash."""

from collections import Counter
from pathlib import Path

import pytest
from counts import MALFORMED_BLOCKS, MALFORMED_FILES, MALFORMED_RECORDS, Counts
from nursery import Nursery
from tally import counted

# A child's share of the work takes some five seconds; one that takes so much longer hangs.
PATIENCE_S = 300.0


@pytest.mark.timeout(2 * 3600)
@pytest.mark.parametrize(
    ("what", "counts", "a_child"),
    [("fuzz_blocks", MALFORMED_BLOCKS, 10_000), ("fuzz_records", MALFORMED_RECORDS, 10_000)],
)
def test_decoders_stay_within_their_memory_and_agree_with_their_twins(
    what: str, counts: Counts, a_child: int, nursery: Nursery
) -> None:
    assert fuzz(nursery, f"block_fuzz:{what}", counts.now, a_child).total() >= counts.now


@pytest.mark.timeout(2 * 3600)
def test_a_store_of_malformed_files_answers_or_raises_a_store_error(nursery: Nursery, tmp_path: Path) -> None:
    count = MALFORMED_FILES.now
    counts = fuzz(nursery, "store_fuzz:fuzz_store", count, 500, note=str(tmp_path / "note"))
    assert counts.total() == count
    for change in ("block reported", "footer refused", "record refused", "manifest refused"):
        assert counts[change], counts


def fuzz(nursery: Nursery, call: str, count: int, a_child: int, **arguments: str) -> Counter[str]:
    """Children one after the other, each with its share; each must return."""
    counts: Counter[str] = Counter()
    with counted("malformed files, valid checksums") as part:
        for seed, begun in enumerate(range(0, count, a_child)):
            ended = nursery.run(call, PATIENCE_S, seed=seed, count=min(a_child, count - begun), **arguments)
            last = Path(arguments["note"]).read_text() if "note" in arguments else ""
            assert ended["end"] == "returned", f"{call} {last}: {ended['end']}\n{ended.get('text', '')}"
            counts.update(ended["value"])
        part.count += counts.total()
    return counts
