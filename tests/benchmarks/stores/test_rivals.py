"""The rivals of the store's benchmarks return what they were given, however they were given it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stores import writes
from benchmarks.stores.harness.engines import (
    ALL,
    Engine,
    RocksEngine,
    Users,
    VaultEngine,
    WrongOutputError,
    verify,
)
from benchmarks.stores.harness.generator import Histories, draw
from benchmarks.stores.harness.rocks import Rocks, missing, write_source, write_stream
from benchmarks.stores.harness.vault import load_vault, open_vault
from seqvault.vault import SeqVault

built = pytest.mark.skipif(missing() is not None, reason=str(missing()))
# One and several chunks and blocks, a chunk exactly full, one user twice.
LENGTHS = np.array([300, 512, 5000, 257, 9000])
REQUESTS: list[tuple[Users, int]] = [((user,), n) for user in range(5) for n in (1, 200, 512, 4097, ALL)]
TOGETHER: list[tuple[Users, int]] = [((4, 0, 2, 0, 1, 3), n) for n in (1, 256, 4000)]


@dataclass
class Stored:
    histories: Histories
    store: SeqVault
    folder: Path


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("stores")
    histories = draw(len(LENGTHS), 3, lengths=LENGTHS, items=20_000)
    load_vault(folder / "packed", histories)
    with open_vault(folder / "packed", histories.schema, read_only=True) as store:
        yield Stored(histories, store, folder)


def test_a_read_of_several_users_is_their_rows_in_the_order_asked_for(stored: Stored) -> None:
    engine = VaultEngine("packed", stored.store)
    assert verify([engine], stored.histories, TOGETHER + REQUESTS) == len(TOGETHER + REQUESTS)
    other = replace(stored.histories, users=stored.histories.users[::-1].copy())
    with pytest.raises(WrongOutputError, match=r"packed: the newest 1 behaviours of \(4, 0, 2, 0, 1, 3\)"):
        verify([engine], other, TOGETHER)


@built
@pytest.mark.parametrize("layout", "ABCH")
def test_rocksdb_returns_what_was_stored(stored: Stored, layout: str) -> None:
    source = stored.folder / "source"
    if not source.exists():
        write_source(stored.histories, source)
    with Rocks() as rocks:
        rocks.load(stored.folder / layout, source, layout, 4)
        engine = RocksEngine(layout, rocks, rocks.open(stored.folder / layout, layout, 4))
        assert verify([engine], stored.histories, TOGETHER + REQUESTS) == len(TOGETHER + REQUESTS)


@built
def test_packed_blocks_in_other_engines_are_the_same_histories(stored: Stored) -> None:
    from benchmarks.stores.harness.blocks import BlocksEngine, KernelEngine, filled

    sizes = filled(stored.folder, stored.store, stored.histories)
    blocks = stored.store.stats()["live_bytes"]
    assert all(blocks <= size < 1.5 * blocks for size in sizes.values())
    options: dict[str, tuple[str, dict[str, object]]] = {
        "cached": ("rocksdb", {}),
        "mapped": ("rocksdb", {"mmap": 1}),
        "lmdb": ("lmdb", {}),
    }
    schema, longest = stored.histories.schema, int(LENGTHS.max())
    made = [
        BlocksEngine(name, engine, stored.folder / engine, schema, longest, words)
        for name, (engine, words) in options.items()
    ]
    assert verify(made, stored.histories, REQUESTS) == 3 * len(REQUESTS)
    kernel = KernelEngine("kernel", stored.store)
    every: list[Engine] = [*made, kernel]
    for engine in every:
        assert [engine.read((user,), 512).rows for user in range(5)] == [300, 512, 512, 257, 512]
        assert engine.read((77,), 5).rows == 0
    for opened in made:
        opened.close()


@built
def test_what_is_written_in_steady_state_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = draw(3, 5, lengths=np.array([700, 2000, 1300]), items=20_000)
    order = np.argsort(histories.columns["time_s"], kind="stable")
    stream = write_stream(histories.user_ids[order], histories.rows_of(order), tmp_path / "stream")
    some = {name: writes.STEADY[name] for name in ("A", "B, universal", "C")}
    monkeypatch.setattr(writes, "STEADY", some)
    monkeypatch.setattr(writes, "STEADY_ROUNDS", 1)
    monkeypatch.setattr(writes, "READ_BACK", 2)
    size = writes.Size(3, 0, 0, 0, 0.0, steady=4000, buffer_mb=0.1)
    with Rocks() as rocks:
        rows = writes.steady(rocks, tmp_path, stream, size)
        assert {row["engine"] for row in rows} == {"packed", *some}
        # At least the log and the tables; and SeqVault's seal is counted.
        assert all(row["bytes_per_behaviour"] > 15 and row["behaviours"] == 2000 for row in rows)
        assert all(row["manifests"] >= 1 for row in rows if row["engine"] == "packed")
        swapped = write_stream(histories.user_ids[order][::-1], histories.rows_of(order), tmp_path / "other")
        monkeypatch.setattr(writes, "_by_user", lambda stream, rows, of=writes._by_user: of(swapped, rows))
        with pytest.raises(WrongOutputError, match="differ from what was stored"):
            writes.steady(rocks, tmp_path, stream, size)
