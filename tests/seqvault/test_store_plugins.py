"""A user's own store that fails, or answers in another form than the protocol's, is named."""

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from histories import START_S, numbered

from seqvault import HistoryBatch, ReadTime, StoreClosedError, StoreError, StoreFullError, open_store
from seqvault.errors import PluginError
from seqvault.memory import MemoryStore


class Answer(MemoryStore):
    """Reads well, then spoils the answer in `changed`."""

    def read_last(self, *arguments: Any, **named: Any) -> Any:
        return self.changed(super().read_last(*arguments, **named))

    def timed_read_last(self, *arguments: Any, **named: Any) -> Any:
        batch, spent = super().timed_read_last(*arguments, **named)
        return self.changed(batch), spent

    def changed(self, batch: HistoryBatch) -> Any:
        return batch


class Pairs(Answer):
    def changed(self, batch: HistoryBatch) -> Any:
        return list(zip(batch.user_ids.tolist(), batch, strict=True))


class Swapped(Answer):
    def changed(self, batch: HistoryBatch) -> Any:
        return HistoryBatch(batch.user_ids[::-1], batch.offsets, batch.columns)


class OneUserLess(Answer):
    def changed(self, batch: HistoryBatch) -> Any:
        return HistoryBatch(batch.user_ids, batch.offsets[:-1], batch.columns)


class Wide(Answer):
    def changed(self, batch: HistoryBatch) -> Any:
        columns = {**batch.columns, "category": batch.columns["category"].astype("f4")}
        return HistoryBatch(batch.user_ids, batch.offsets, columns)


class Short(Answer):
    def changed(self, batch: HistoryBatch) -> Any:
        columns = {name: values[:-1] for name, values in batch.columns.items()}
        return HistoryBatch(batch.user_ids, batch.offsets, columns)


class Everything(Answer):
    def read_last(self, users: Any, n: int, *, columns: Any = None, **named: Any) -> Any:
        return super().read_last(users, n, **named)


class Lists(Answer):
    def changed(self, batch: HistoryBatch) -> Any:
        columns = {name: values.tolist() for name, values in batch.columns.items()}
        return HistoryBatch(batch.user_ids, batch.offsets, columns)


class Newest(Answer):
    def changed(self, batch: HistoryBatch) -> Any:
        columns = {name: values.copy() for name, values in batch.columns.items()}
        for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
            for name, values in batch.columns.items():
                columns[name][start:end] = values[start:end][::-1]
        return HistoryBatch(batch.user_ids, batch.offsets, columns)


class Longer(Answer):
    def read_last(self, users: Any, n: int, **named: Any) -> Any:
        return super().read_last(users, 3 * n, **named)


class Later(Answer):
    def read_last(self, users: Any, n: int, *, before_s: Any = None, **named: Any) -> Any:
        return super().read_last(users, n, **named)


class Clockless(Answer):
    def timed_read_last(self, *arguments: Any, **named: Any) -> Any:
        return super().read_last(*arguments, **named)


class Backwards(Answer):
    def timed_read_last(self, *arguments: Any, **named: Any) -> Any:
        return super().read_last(*arguments, **named), ReadTime(0.001, 0.002)


class Fails(MemoryStore):
    def append(self, user_ids: object, columns: Any, *, sequence: str | None = None) -> None:
        raise RuntimeError("the socket is gone")

    def read_last(self, *arguments: Any, **named: Any) -> HistoryBatch:
        raise RuntimeError("the socket is gone")

    timed_read_last = stats = close = bulk_load = read_range = read_last  # type: ignore[assignment]


class Leaves(MemoryStore):
    def read_last(self, *arguments: Any, **named: Any) -> HistoryBatch:
        sys.exit(0)


class Full(MemoryStore):
    def append(self, user_ids: object, columns: Any, *, sequence: str | None = None) -> None:
        raise StoreFullError("no room for 3 rows: free some")


class NeedsServer(MemoryStore):
    def __init__(self, path: Path, **named: Any) -> None:
        raise RuntimeError("no server at port 6379")


class ReadsOnly:
    schema = MemoryStore().schema

    def __init__(self, path: Path, schema: Any, read_only: bool) -> None: ...

    def read_last(self, *arguments: Any, **named: Any) -> None: ...


class NoSchema(MemoryStore):
    def __init__(self, path: Path, **named: Any) -> None:
        super().__init__(path, **named)
        self.schema = None  # type: ignore[assignment]


def opened(kind: str, path: Path) -> Any:
    """A store with three behaviours of user 3 and two of user 5."""
    store = open_store(f"{__name__}:{kind}", path)
    store.bulk_load(*numbered([3, 3, 3, 5, 5], [START_S + at for at in (0, 10, 20, 5, 15)]))
    return store


def test_a_fair_store_is_read_as_if_it_were_bare(tmp_path: Path) -> None:
    with opened("Answer", tmp_path) as store:
        batch = store.read_last([5, 3, 9], 2, before_s=[START_S + 15, START_S + 99, 0], columns=["item_id"])
        assert [rows["item_id"].tolist() for rows in batch] == [[3], [1, 2], []]
        assert store.timed_read_last([3], 2)[0].columns["time_s"].tolist() == [START_S + 10, START_S + 20]
        assert store.read_range([3], START_S, START_S + 20).lengths.tolist() == [2]
        assert store.stats()["behaviours"] == 5
        store.delete_user(3)  # the protocol does not know it
        assert store.read_last([3], 2).lengths.tolist() == [0]
    with pytest.raises(StoreClosedError):
        store.read_last([3], 2)


@pytest.mark.parametrize(
    ("kind", "found", "expected"),
    [
        ("Pairs", "returned a list", "expected a HistoryBatch"),
        ("Swapped", "returned users [5, 3]", "expected the users asked for, in order: [3, 5]"),
        ("OneUserLess", "returned offsets [0, 2]", "expected 3 integers that rise from 0 for 2 users"),
        ("Wide", "returned column category as (4,) float32", "expected (4,) uint16"),
        ("Short", "returned column time_s as (3,) int64", "expected (4,) int64"),
        ("Everything", "'item_id'", "expected ['category', 'time_s']"),
        ("Lists", "returned column time_s as (4,) list", "expected (4,) int64"),
        (
            "Newest",
            f"{START_S + 10} s after {START_S + 20} s",
            "of user 3, expected the oldest",
        ),
        ("Longer", "returned 3 behaviours of user 3", "expected at most 2"),
        ("Later", f"of user 3 at {START_S + 20} s", f"expected only earlier ones than {START_S + 20} s"),
    ],
)
def test_an_answer_in_another_form_is_refused(kind: str, found: str, expected: str, tmp_path: Path) -> None:
    bound = START_S + (20 if kind == "Later" else 99)
    with opened(kind, tmp_path) as store, pytest.raises(PluginError) as caught:
        store.read_last([3, 5], 2, before_s=bound, columns=["time_s", "category"])
    said = str(caught.value)
    assert f"store plug-in '{__name__}:{kind}': read_last" in said
    assert found in said
    assert expected in said


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Clockless", r"timed_read_last returned a HistoryBatch, expected a pair \(HistoryBatch, ReadTime\)"),
        ("Backwards", r"own_s=0.002.*expected seconds with 0 <= own_s <= call_s"),
        ("Newest", "the oldest behaviour first"),
    ],
)
def test_a_timed_read_is_held_to_the_same(kind: str, said: str, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as store, pytest.raises(PluginError, match=said):
        store.timed_read_last([3], 2)


@pytest.mark.parametrize("method", ["append", "read_last", "timed_read_last", "read_range", "stats", "close"])
def test_an_exception_in_a_store_is_the_plugins_failure(method: str, tmp_path: Path) -> None:
    store = open_store(f"{__name__}:Fails", tmp_path)
    arguments: dict[str, tuple[Any, ...]] = {
        "append": numbered([1], [START_S]),
        "read_last": ([1], 2),
        "timed_read_last": ([1], 2),
        "read_range": ([1], 0, 1),
    }
    with pytest.raises(PluginError) as caught:
        getattr(store, method)(*arguments.get(method, ()))
    said = str(caught.value)
    assert f":Fails' raised RuntimeError in {method}: the socket is gone" in said
    assert f"{__file__}:" in said
    assert 'raise RuntimeError("the socket is gone")' in said
    assert str(pickle.loads(pickle.dumps(caught.value))) == said


def test_a_store_cannot_end_the_program_as_if_all_were_done(tmp_path: Path) -> None:
    with (
        opened("Leaves", tmp_path) as store,
        pytest.raises(PluginError, match="raised SystemExit in read_last"),
    ):
        store.read_last([3], 2)


def test_a_full_disk_remains_a_full_disk_and_names_the_store(tmp_path: Path) -> None:
    store = open_store(f"{__name__}:Full", tmp_path)
    with pytest.raises(StoreFullError, match="free some") as caught:
        store.append(*numbered([1], [START_S]))
    assert caught.value.__notes__ == [f"Store plug-in '{__name__}:Full' raised it in append."]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("NeedsServer", ":NeedsServer' raised RuntimeError while being opened: no server at port 6379"),
        ("ReadsOnly", "a ReadsOnly without append, bulk_load, read_range, timed_read_last, stats, close"),
        ("NoSchema", "has schema None, expected the HistorySchema"),
        ("Absent", "cannot be imported.*has no attribute 'Absent'"),
    ],
)
def test_a_store_that_does_not_open_says_why(kind: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=said):
        open_store(f"{__name__}:{kind}", tmp_path)


def test_an_option_a_store_does_not_have_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r":Answer' got options \['colour'\]") as caught:
        open_store(f"{__name__}:Answer", tmp_path, colour="red")
    assert not isinstance(caught.value, PluginError)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import a_library_nobody_has", "No module named 'a_library_nobody_has'"),
        ("1 / 0", "raised ZeroDivisionError while being opened"),
    ],
)
def test_a_module_that_does_not_import_says_why(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_store.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_store", raising=False)
    with pytest.raises(StoreError, match=said):
        open_store("broken_store:Mine", tmp_path)
