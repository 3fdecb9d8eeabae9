"""A world that another process maps is the world, array for array; whoever writes to it has a copy."""

import dataclasses
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import EXAMPLES, small

from simulator.arms.plan import make_plan
from simulator.config.load import load_config
from simulator.inputs import shared
from simulator.inputs.prepare import Prepared, forget, prepare
from simulator.inputs.shared import FILE, share


@pytest.fixture(autouse=True)
def _mapped_nowhere_else() -> Iterator[None]:
    forget()
    yield
    forget()
    shared._latest.clear()


def arrays(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array of an object and of the objects that it holds."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from arrays(one, f"{name}.{key}")
    elif dataclasses.is_dataclass(value):
        yield from arrays(vars(value), name)


def same(one: Prepared, other: Prepared) -> bool:
    found, expected = dict(arrays(one)), dict(arrays(other))
    return list(found) == list(expected) and all(
        value.dtype == expected[name].dtype
        and np.array_equal(value, expected[name], equal_nan=value.dtype.kind == "f")
        for name, value in found.items()
    )


@pytest.mark.parametrize("log", [False, True])
def test_a_mapped_world_is_the_world(log: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if log:
        folder = request.getfixturevalue("kuairand_log")
        config = load_config(EXAMPLES / "kuairand.toml", [f"traffic.log={folder}"], environment={})
    else:
        config = small()
    source = make_plan(config).world
    made = prepare(source)
    assert made.truth.of(np.arange(3))  # which stays with its process
    sent = pickle.loads(pickle.dumps(share(source, tmp_path)))
    forget()
    sent()
    mapped = prepare(source)
    assert mapped is not made
    assert same(mapped, made)
    assert len(dict(arrays(made))) > 30
    assert mapped.digest == made.digest
    rows = np.arange(len(made.requests))[::97]
    for one, other in zip(mapped.truth.of(rows), made.truth.of(rows), strict=True):
        assert np.array_equal(one, other)


def test_nothing_is_in_the_file_twice(tmp_path: Path) -> None:
    source = make_plan(small()).world
    share(source, tmp_path)
    distinct = {value.__array_interface__["data"][0]: value.nbytes for _, value in arrays(prepare(source))}
    assert (tmp_path / FILE).stat().st_size < 1.05 * sum(distinct.values()) + 64 * len(distinct) + 100_000


def test_what_is_mapped_cannot_be_written_to(tmp_path: Path) -> None:
    source = make_plan(small()).world
    sent = share(source, tmp_path)
    for _ in range(2):  # here, and as another process finds it
        requests = prepare(source).requests
        before = requests.propensity.copy()
        with pytest.raises(ValueError, match="read-only"):
            requests.propensity[:] = 7
        assert np.array_equal(requests.propensity, before)
        forget()
        sent()


def test_a_world_is_written_once_and_another_takes_its_place(tmp_path: Path) -> None:
    one, other = make_plan(small()).world, make_plan(small("seed=8")).world
    sent = share(one, tmp_path)
    written = (tmp_path / FILE).stat().st_mtime_ns
    assert share(one, tmp_path) is sent
    assert (tmp_path / FILE).stat().st_mtime_ns == written
    share(other, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
    assert prepare(one).requests.arrival_s.sum() > 0  # its pages are there as long as they are used


def test_where_it_cannot_be_written_each_makes_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_plan(small()).world
    made = prepare(source)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as a disk does that is full after it
    try:
        sent = share(source, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "each process makes a world of its own" in caplog.text
    assert list(tmp_path.iterdir()) == []
    sent()
    assert prepare(source) is made
