"""Random operations on a vault and on the dict: an episode is a fresh store with options of its own."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from dict_model import DictModel, difference
from streams import ALL, START_S
from vaults import MEMORY, compact_early

from seqvault import BEHAVIOURS, Column, HistorySchema, open_store
from seqvault.schema import SequenceType

USERS = 12
# Each version of the first sequence adds a column or drops one.
VERSIONS = (
    BEHAVIOURS,
    HistorySchema("behaviours", 2, (*BEHAVIOURS.columns, Column("price", "u4", default=7))),
    HistorySchema(
        "behaviours",
        3,
        (
            *(column for column in BEHAVIOURS.columns if column.name != "dwell_s"),
            Column("price", "u4", default=7),
            Column("score", "i2", default=-3),
        ),
    ),
)
SEARCHES = HistorySchema(
    "searches", 1, (Column("time_s", "i8", "s"), Column("item_id", "u8"), Column("action", "u1"))
)
CAP = 40


@dataclass
class Episode:
    """One store, its model, and a reader process's view of it.

    Args:
        options: of the vault; with them a third of the episodes has a cap.
    """

    seed: int
    operations: int
    folder: Path = field(init=False)
    store: Any = field(init=False)
    reader: Any = field(init=False, default=None)
    model: DictModel = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng((11, self.seed))
        self.capped = self.seed % 3 == 1
        self.version = 0
        self.now_s = START_S
        self.options = {
            "block_rows": int(self.rng.choice([4, 16, 64, 1024])),
            "seal_rows": int(self.rng.choice([30, 200, 5_000])),
            "codec": str(self.rng.choice(["packed", "zstd"])),
            "background": bool(self.rng.random() < 0.3),
            "durability": str(self.rng.choice(["sync", "async"])),
        }
        self.model = DictModel(
            {"behaviours": BEHAVIOURS, "searches": SEARCHES}, {"searches": CAP} if self.capped else {}
        )

    def run(self) -> dict[str, int]:
        """Every read of the episode is compared with the model's."""
        compact_early(self.seed % 2 == 1)
        self.folder = Path(tempfile.mkdtemp(prefix="model-", dir=MEMORY))
        steps = [getattr(self, name) for name in _WEIGHTS]
        weights = np.array(list(_WEIGHTS.values()))
        try:
            self.store = self._open()
            for step in self.rng.choice(len(steps), self.operations, p=weights / weights.sum()).tolist():
                self.history.append(steps[step].__name__)
                steps[step]()
                self.counts[steps[step].__name__] += 1
            self.compare_all(self.store)
            self.reopen()
            self.compare_all(self.store)
            self.store.close()
            if self.reader is not None:
                self.reader.close()
        except Exception as error:
            error.add_note(f"episode {self.seed} {self.options}, its last operations {self.history[-12:]}")
            raise
        finally:
            shutil.rmtree(self.folder)
        return dict(self.counts)

    def append(self) -> None:
        self._append(int(self.rng.integers(1, 12)))

    def append_late(self) -> None:
        self._append(int(self.rng.integers(1, 6)), late_s=int(self.rng.integers(1, 3000)))

    def append_many(self) -> None:
        self._append(int(self.rng.integers(100, 400)))

    def append_nothing(self) -> None:
        self._append(0)

    def append_again(self) -> None:
        """A batch under an id seen before, or a new one."""
        batch_id = int(self.rng.integers(0, 60))
        name, users, columns = self._rows(5)
        wrote = self.store.append(users, columns, sequence=name, batch_id=batch_id)
        assert wrote is self.model.append(users, columns, sequence=name, batch_id=batch_id), batch_id

    def append_async(self) -> None:
        self._append(5, durability="async")

    def bulk_load(self) -> None:
        name, users, columns = self._rows(int(self.rng.integers(0, 300)), late_s=2000)
        for target in (self.store, self.model):
            target.bulk_load(users, columns, sequence=name)

    def delete_user(self) -> None:
        user = int(self.rng.integers(USERS + 1))
        for target in (self.store, self.model):
            target.delete_user(user)

    def expire(self) -> None:
        before_s = self.now_s - int(self.rng.integers(0, 3000))
        name = self._name()
        for target in (self.store, self.model):
            target.expire(before_s, sequence=name, force=True)

    def seal(self) -> None:
        self.store.seal()

    def compact(self) -> None:
        self.store.compact(full=bool(self.rng.random() < 0.4))

    def maintain(self) -> None:
        self.store.maintain()

    def flush(self) -> None:
        self.store.flush()

    def reopen(self) -> None:
        self.store.close()
        self.store = self._open()

    def evolve(self) -> None:
        """Open with the next version of the schema; a reader goes on with the version it knows."""
        self.store.close()
        if self.version + 1 < len(VERSIONS):
            self.version += 1
            self.model.evolve("behaviours", VERSIONS[self.version])
            if self.reader is not None:
                self.reader.close()
                self.reader = None
        self.store = self._open()

    def snapshot(self) -> None:
        folder = self.folder / "snapshot"
        self.store.snapshot(folder)
        with self._open(folder, read_only=True) as copy:
            self.compare_all(copy)
        shutil.rmtree(folder)

    def read_elsewhere(self) -> None:
        """A reader beside the writer, refreshed, sees what the writer sees."""
        if self.reader is None:
            self.reader = self._open(read_only=True)
        self.reader.refresh()
        self.compare_all(self.reader)

    def read_last(self) -> None:
        name = self._name()
        n = int(self.rng.choice([0, 1, 5, 50, ALL]))
        before_s: Any = None
        if self.rng.random() < 0.4:
            before_s = self.now_s - int(self.rng.integers(-50, 3000))
        users = self._users()
        if self.rng.random() < 0.2:
            before_s = self.now_s - self.rng.integers(-50, 3000, len(users))
        options = self._options(name)
        self._same(
            lambda target: target.read_last(users, n, before_s=before_s, **options),
            f"read_last({users.tolist()}, {n}, before_s={before_s}, {options})",
        )

    def read_range(self) -> None:
        name = self._name()
        start_s = self.now_s - int(self.rng.integers(-50, 4000))
        end_s = start_s + int(self.rng.integers(-5, 1500))
        users, options = self._users(), self._options(name)
        self._same(
            lambda target: target.read_range(users, start_s, end_s, **options),
            f"read_range({users.tolist()}, {start_s}, {end_s}, {options})",
        )

    def compare_all(self, store: Any) -> None:
        everyone = np.arange(USERS + 2, dtype="u8")
        for name in self.model.schemas:
            unequal = difference(
                store.read_last(everyone, ALL, sequence=name),
                self.model.read_last(everyone, ALL, sequence=name),
            )
            assert unequal is None, f"{name}: {unequal}"

    def _same(self, read: Callable[[Any], Any], what: str) -> None:
        unequal = difference(read(self.store), read(self.model))
        assert unequal is None, f"{what}: {unequal}"

    def _open(self, folder: Path | None = None, *, read_only: bool = False) -> Any:
        sequences = (
            SequenceType("behaviours", VERSIONS[self.version]),
            SequenceType("searches", SEARCHES, cap=CAP if self.capped else None),
        )
        path = self.folder / "vault" if folder is None else folder
        return open_store("seqvault", path, sequences=sequences, read_only=read_only, **self.options)

    def _append(self, rows: int, *, late_s: int = 0, durability: str | None = None) -> None:
        name, users, columns = self._rows(rows, late_s=late_s)
        assert self.store.append(users, columns, sequence=name, durability=durability) is not False
        self.model.append(users, columns, sequence=name)

    def _rows(self, rows: int, late_s: int = 0) -> tuple[str | None, np.ndarray, dict[str, np.ndarray]]:
        """(sequence, users, columns): few items, so that `distinct` has work, and many equal times."""
        name = self._name()
        self.now_s += int(self.rng.integers(0, 20))
        start_s = self.now_s - late_s
        columns = {"time_s": start_s + self.rng.integers(0, 15, rows)}
        schema = self.model.schemas[name or "behaviours"]
        for column in schema.columns[1:]:
            most = 40 if column.name == "item_id" else min(np.iinfo(column.dtype).max + 1, 5)
            columns[column.name] = self.rng.integers(0, most, rows)
            if column.name == "item_id" and self.rng.random() < 0.2:
                columns["item_id"] = self.rng.integers(0, 1 << 63, rows, dtype="u8") * 2 + 1
        skewed = np.minimum(self.rng.integers(0, USERS, rows), self.rng.integers(0, USERS, rows))
        return name, skewed.astype("u8"), columns

    def _name(self) -> str | None:
        return str(self.rng.choice(["behaviours", "searches"])) if self.rng.random() < 0.7 else None

    def _users(self) -> np.ndarray:
        """A few users; some repeat, some are unknown."""
        return self.rng.integers(0, USERS + 2, int(self.rng.choice([0, 1, 2, 8]))).astype("u8")

    def _options(self, name: str | None) -> dict[str, Any]:
        schema = self.model.schemas[name or "behaviours"]
        options: dict[str, Any] = {"sequence": name}
        if self.rng.random() < 0.4:
            count = int(self.rng.integers(1, len(schema.names) + 1))
            options["columns"] = self.rng.permutation(schema.names)[:count].tolist()
        if self.rng.random() < 0.3:
            options["actions"] = self.rng.integers(0, 6, int(self.rng.integers(0, 3))).tolist()
        if "scene" in schema.names and self.rng.random() < 0.3:
            options["scenes"] = self.rng.integers(0, 6, int(self.rng.integers(0, 3))).tolist()
        if self.rng.random() < 0.3:
            options["distinct"] = str(self.rng.choice(schema.names[1:]))
        return options


_WEIGHTS = {
    "append": 25,
    "append_late": 8,
    "append_many": 1,
    "append_nothing": 0.5,
    "append_again": 4,
    "append_async": 4,
    "bulk_load": 1,
    "delete_user": 1,
    "expire": 0.5,
    "seal": 1.5,
    "compact": 0.5,
    "maintain": 1,
    "flush": 1,
    "reopen": 0.6,
    "evolve": 0.1,
    "snapshot": 0.2,
    "read_elsewhere": 1,
    "read_last": 35,
    "read_range": 15,
}


def run_episode(seed: int, operations: int) -> dict[str, int]:
    """Operations of one episode, by kind. Raises AssertionError when a read differs from the model's."""
    return Episode(seed, operations).run()
