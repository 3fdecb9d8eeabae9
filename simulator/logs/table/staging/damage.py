"""What was read of a raw file and what is wrong with its rows, by reason; too much of it is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from simulator.logs.table.staging.fields import EARLIEST_MS, LATEST_MS, PER_MS, Reason
from simulator.logs.table.staging.mapping import Time
from simulator.logs.table.staging.sources import RawFile
from simulator.traffic.trace import TraceError

ALWAYS_BORNE = 3  #: damaged rows, however few there are
PLACES_SHOWN = 5
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


@dataclass
class Read:
    """What was read of a file.

    Attributes:
        file, bytes, sha256: its name, size and checksum.
        rows: read; cut ones too.
        cut: lines of too few or too many fields.
        dropped: by reason: "rows", and the "first" places.
        first: the place, the reason and the raw value of its first damaged row.
    """

    file: str
    bytes: int
    sha256: str
    rows: int = 0
    cut: list[int] = field(default_factory=list)
    dropped: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: tuple[str, str, str | None] | None = None

    @property
    def damaged(self) -> int:
        """Rows left out."""
        return sum(entry["rows"] for entry in self.dropped.values())


@dataclass(frozen=True)
class Damage:
    """Rows that cannot be used for one reason: how many, the first ones, and the first raw value."""

    number: int  # of the reason
    reason: Reason
    count: int
    rows: list[int]
    value: str | None


def note_damage(read: Read, raw: RawFile, damage: Iterable[Damage], time: Time, allowed: float) -> None:
    """Note what is wrong with a file's rows in what was read of it.

    Args:
        read: of the whole file; its rows are counted.
        raw: the file.
        damage: of its batches.
        time: the mapping's field.
        allowed: the share of rows that may be damaged.

    Raises:
        TraceError: there are no rows, too many of them are damaged, or their times are in another unit.
    """
    if read.rows == 0:
        raise TraceError(f"{raw.path}, line 2: found no rows after the header, expected some. Get it anew.")
    together = _by_reason(damage)
    for each in together:
        places = list(dict.fromkeys(map(raw.place, each.rows)))  # elements of a row have its place
        read.dropped[each.reason.text] = {"rows": each.count, "first": places}
    if read.cut:
        places = [f"{raw.path.name}:{line}" for line in read.cut[:PLACES_SHOWN]]
        read.dropped["too few or too many fields (a cut row)"] = {"rows": len(read.cut), "first": places}
    if together:
        first = min(together, key=lambda each: each.rows[0])
        read.first = (raw.place(first.rows[0]), first.reason.text, first.value)
    times = next((each for each in together if each.reason.field == "time"), None)
    if times is not None and 2 * times.count > read.rows:
        _refuse_unit(raw, times, time)
    _check_share(raw, read, allowed)


def _by_reason(damage: Iterable[Damage]) -> list[Damage]:
    """What is wrong with a file's rows, from what is wrong in its batches, in the order of reasons."""
    found: dict[int, Damage] = {}
    for each in damage:
        before = found.get(each.number)
        if before is not None:
            rows = [*before.rows, *each.rows][:PLACES_SHOWN]
            value = each.value if before.value is None else before.value
            each = Damage(each.number, each.reason, before.count + each.count, rows, value)
        found[each.number] = each
    return [found[number] for number in sorted(found)]


def _refuse_unit(raw: RawFile, times: Damage, time: Time) -> None:
    """Refuse a file in another unit of time: every row of it would be dropped one by one otherwise."""
    unit = _looks_like(times.value, time)
    if unit is not None:
        raise TraceError(
            f"{_where(raw, raw.place(times.rows[0]))}: {time.name} is {times.value}, which looks like "
            f"{_UNITS[unit]}, expected {_UNITS.get(time.unit, 'a date and time')}. State the unit in the "
            "mapping, or convert the column."
        )


def _looks_like(value: str | None, time: Time) -> str | None:
    """The unit in which a number would be a time of these years, where it is another than the mapping's."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    units = [unit for unit, per in PER_MS.items() if EARLIEST_MS <= number / per < LATEST_MS]
    return units[0] if units and units[0] != time.unit else None


def _check_share(raw: RawFile, read: Read, allowed: float) -> None:
    if read.damaged > max(ALWAYS_BORNE, allowed * read.rows):
        cut = f"{raw.path.name}:{read.cut[0]}" if read.cut else None
        first = cut or (read.first[0] if read.first else raw.path.name)
        why = "; ".join(f"{entry['rows']:,} {text}" for text, entry in read.dropped.items())
        value = f", such as {read.first[2]!r}" if read.first and read.first[2] is not None else ""
        raise TraceError(
            f"{_where(raw, first)}: {read.damaged:,} of {read.rows:,} rows are damaged ({why}{value}), "
            f"expected at most {allowed:.2%}. Get the file again, correct the mapping, or raise "
            "limits.damaged."
        )


def _where(raw: RawFile, place: str) -> str:
    """A place as messages write it: the file's path, then the line."""
    rest = place.removeprefix(f"{raw.path.name}").removeprefix(":")
    word = "" if not rest or rest.startswith("row") else "line "
    return f"{raw.path}, {word}{rest}" if rest else str(raw.path)
