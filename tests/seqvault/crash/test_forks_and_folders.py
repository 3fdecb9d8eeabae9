"""Forks, and folders that are replaced: a store never touches what is not its own, whatever the moment."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from counts import KILLS_A_POINT, some
from killed_writer import KillRounds
from nursery import Nursery
from streams import ALL, Stream, standard_streams
from tally import counted
from vaults import MEMORY, open_vault

from seqvault import StoreClosedError
from seqvault.vault.disk.points import POINTS


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("point", some([point for point in POINTS if point != "recovery.begun"], 4))
def test_a_folder_replaced_at_the_point_is_left_alone_and_nothing_is_lost(
    point: str, nursery: Nursery
) -> None:
    for count in range(1, KILLS_A_POINT.now + 1):
        with (
            tempfile.TemporaryDirectory(prefix="replaced-", dir=MEMORY) as root,
            counted("folders replaced under a writer") as part,
        ):
            folder, other, acks = Path(root) / "vault", Path(root) / "other", Path(root) / "acks"
            with open_vault(other) as store:
                for number in range(20):
                    Stream(9).operation(number).run(store)
                store.seal()
                Stream(9).operation(20).run(store)
            before = content(other)
            said = nursery.value(
                "point_workload:lose",
                folder=str(folder),
                other=str(other),
                acks=str(acks),
                point=point,
                count=count,
            )
            if other.exists():
                continue
            assert content(folder) == before, f"{point}: the other store was changed"
            assert said is None or "no longer leads to the folder" in said, said
            shutil.rmtree(folder)
            Path(f"{folder}-own").rename(folder)
            KillRounds(Path(root), nursery, {}).compare(acks)
            part.count += 1


def write_fork_die(folder: str, done: str, child_closes: bool) -> None:
    """Appends around a fork whose child uses and closes the store; all are noted, then nothing is closed."""
    store, stream = open_vault(folder), standard_streams()[0]
    for number in range(5):
        stream.operation(number).run(store)
    child = os.fork()
    if child == 0:
        try:
            stream.operation(5).run(store)
        except StoreClosedError:
            if child_closes:
                store.close()
            os._exit(0)
        os._exit(1)
    for number in range(5, 9):
        stream.operation(number).run(store)
    assert os.waitpid(child, 0)[1] == 0, "the child could write"
    for number in range(9, 12):
        stream.operation(number).run(store)
    Path(done).touch()
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("child_closes", [False, True])
def test_appends_around_a_fork_survive_the_child_and_a_kill(child_closes: bool, nursery: Nursery) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="forked-", dir=MEMORY) as root,
        counted("forks with an open writer") as part,
    ):
        folder, done = Path(root) / "vault", Path(root) / "done"
        ended = nursery.run(
            "test_forks_and_folders:write_fork_die",
            folder=str(folder),
            done=str(done),
            child_closes=child_closes,
        )
        assert ended["end"] == "killed by SIGKILL", ended
        assert done.exists()
        with open_vault(folder) as store, open_vault(Path(root) / "expected") as expected:
            for number in range(12):
                standard_streams()[0].operation(number).run(expected)
            users = standard_streams()[0].users
            found, wanted = store.read_last(users, ALL), expected.read_last(users, ALL)
        for name, values in wanted.columns.items():
            np.testing.assert_array_equal(found.columns[name], values, err_msg=name)
        part.count += 1
