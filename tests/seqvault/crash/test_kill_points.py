"""kill -9 at every named kill point: nothing acknowledged is lost, what was under way is whole or absent."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from counts import KILLS_A_POINT, some
from killed_writer import KillRounds
from nursery import Nursery
from point_workload import VARIANTS
from streams import Survivors, standard_streams
from tally import counted
from vaults import MEMORY, open_vault

from seqvault.vault.disk.points import POINTS


@pytest.fixture(scope="module")
def counts(nursery: Nursery) -> dict[str, list[tuple[str, int]]]:
    """Point -> (variant, how often that variant passes it), the variants that do not pass it left out."""
    found: dict[str, list[tuple[str, int]]] = {point: [] for point in POINTS}
    for variant in VARIANTS:
        if variant == "threads":
            continue
        with tempfile.TemporaryDirectory(prefix="points-", dir=MEMORY) as folder:
            passed = nursery.value(
                "point_workload:passed",
                variant=variant,
                folder=f"{folder}/vault",
                firsts={stream.number: 0 for stream in standard_streams()},
                acks=f"{folder}/acks",
            )
        for point, count in passed.items():
            found[point].append((variant, count))
    return found


def test_every_kill_point_is_passed(counts: dict[str, list[tuple[str, int]]]) -> None:
    missed = [point for point in POINTS if not counts[point]]
    assert not missed, f"no workload passes the kill points {missed}"


@pytest.mark.parametrize("point", some(POINTS, 6))
def test_a_kill_at_the_point_loses_nothing(
    point: str, counts: dict[str, list[tuple[str, int]]], nursery: Nursery
) -> None:
    rng = np.random.default_rng(list(POINTS).index(point))
    for turn in range(KILLS_A_POINT.now):
        variant, passes = counts[point][turn % len(counts[point])]
        first_middle_last = (1, passes, (passes + 1) // 2)
        count = first_middle_last[turn] if turn < 3 else int(rng.integers(1, passes + 1))
        with (
            tempfile.TemporaryDirectory(prefix="points-", dir=MEMORY) as folder,
            counted("kill -9 at named points") as part,
        ):
            kill(nursery, Path(folder), variant, point, count)
            part.count += 1


def kill(nursery: Nursery, folder: Path, variant: str, point: str, count: int) -> None:
    rounds = KillRounds(folder, nursery, {})
    acks = folder / "acks"
    for turn in range(2):
        # The second time the store is not new; it may not come as far as to the same count.
        ended = nursery.run(
            "point_workload:die",
            600.0,
            variant=variant,
            folder=str(folder / "vault"),
            firsts={number: known.operations for number, known in rounds.survivors.items()},
            acks=str(acks),
            point=point,
            count=count if turn == 0 else 1,
        )
        assert turn == 1 or ended["end"] == "killed by SIGKILL", f"{variant}: {ended}"
        assert ended["end"] in ("killed by SIGKILL", "returned"), f"{variant}: {ended}"
        rounds.compare(acks)
        check_snapshots(folder)
        acks.unlink(missing_ok=True)


def check_snapshots(folder: Path) -> None:
    """A snapshot that has its name opens, and holds a state of each stream."""
    for snapshot in folder.glob("snapshot-*"):
        if (snapshot / "MANIFEST").exists():
            with open_vault(snapshot, read_only=True) as store:
                for stream in standard_streams():
                    Survivors(stream).settle(store, 0, 1_000)
            shutil.rmtree(snapshot)
