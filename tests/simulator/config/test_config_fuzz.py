"""Whatever a file says, it is refused in the checks' own words, or it is a file that can be written back."""

import contextlib
import copy
import datetime
import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from simulator.arms import outlook
from simulator.arms.outlook import findings
from simulator.config.load import ConfigError, ExperimentConfig, parse_config, to_toml
from simulator.config.toml_writer import write_toml
from simulator.world.config import WorldConfig

BASE: dict[str, Any] = {
    "traffic": {"preset": "demo"},
    "arms": {
        "control": {"store": "memory", "model": "base", "history": 5},
        "treatment": {"store": "memory", "model": "din", "history": 50},
    },
}
VALUES: tuple[Any, ...] = (
    True, False, 0, 1, -1, 256, 2**63 - 1, 2**63, 10**15, 10**400,
    0.0, 0.5, 1e-308, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf"),
    "", "auto", "none", "a\nb", "\x00", "\ufeff", "é\U0001f600", "x" * 1000,
    "~nobody/x", "..", "no.such.module:thing", "{}%s{0}",
    [], [[]], ["a", 2], [[1, 2.0, 3.0, 4.0]], [[1, "a", 3, 4]], [0.5, float("nan")],
    {}, {"a": 1}, {"": {}}, {"control": 0.5, "treatment": 0.5},
    datetime.date(1979, 5, 27), datetime.datetime(1979, 5, 27, tzinfo=datetime.UTC),
)  # fmt: skip


def tables(annotation: Any) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """The tables that an annotation holds, each with the names that lead to it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (), annotation
    elif get_origin(annotation) is dict:
        for path, table in tables(get_args(annotation)[1]):
            yield ("control", *path), table
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from tables(one)


def keys(model: type[BaseModel] = ExperimentConfig, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that a file may have, as the settings declare them."""
    for name, field in model.model_fields.items():
        yield (*at, name)
        for path, table in tables(field.annotation):
            yield from keys(table, (*at, name, *path))


KEYS = [
    *keys(),
    *(("traffic", "world", field.name) for field in fields(WorldConfig)),
    ("arms", "new"),
    ("n",),
]


LOAD = functools.cache(outlook.load)


def text_with(key: tuple[str, ...], value: Any) -> str:
    data = copy.deepcopy(BASE)
    table = data
    for part in key[:-1]:
        table = table.setdefault(part, {})
    table[key[-1]] = value
    return _written(data)


def _written(data: Mapping[str, Any]) -> str:
    """As the writer has it; dates, which no setting holds and the writer refuses, are put in afterwards."""
    marks: dict[str, str] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, datetime.date | datetime.time):
            marks[f"date {len(marks)}"] = value.isoformat()
            return f"date {len(marks) - 1}"
        return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value

    text = write_toml(plain(data))
    for mark, date in marks.items():
        text = text.replace(f'"{mark}"', date)
    return text


def test_the_settings_are_found() -> None:
    assert {("seed",), ("arms", "control", "training", "lengths"), ("market", "pricing")} <= set(KEYS)


@pytest.fixture(autouse=True)
def profiles_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "load", LOAD)


@pytest.mark.parametrize("key", KEYS, ids=".".join)
def test_any_value_of_any_key_is_refused_in_words_or_written_back(key: tuple[str, ...]) -> None:
    for value in VALUES:
        text = text_with(key, value)
        with contextlib.suppress(ConfigError):
            config = parse_config(text)
            assert parse_config(to_toml(config)) == config, value
            assert all(finding.message for finding in findings(config))


@pytest.mark.parametrize("key", ["seed", "experiment.name", "experiment.budget_ms", "arms.control.history"])
def test_a_number_that_python_will_not_print_is_refused_in_words(key: str) -> None:
    with pytest.raises(ConfigError, match="a number of thousands of digits"):
        parse_config(write_toml(BASE), overrides=[f"{key}=0x{'f' * 5000}"])


@pytest.mark.parametrize(
    "text",
    [
        "seed = " + "9" * 5000,
        "x = " + "[" * 100_000,
        "x = " + "{a = " * 5000,
        "a." * 20_000 + "b = 1",
        "[" + "a." * 5000 + "b]",
        "\x00",
        "\ufeff\ufeffseed = 1",
        "\r",
    ],
    ids=lambda text: text[:12].encode("unicode_escape").decode(),
)
def test_texts_that_a_parser_chokes_on_are_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(text)
    with pytest.raises(ConfigError):
        parse_config(write_toml(BASE), overrides=[f"seed={text}"])
