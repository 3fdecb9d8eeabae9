"""What was read of a raw file and what is wrong with its rows, by reason; too much of it is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from simulator.logs.table.staging.fields import EARLIEST_MS, LATEST_MS, PER_MS, Reason
from simulator.logs.table.staging.mapping import Time
from simulator.logs.table.staging.sources import RawFile
from simulator.traffic.trace import TraceError

ALWAYS_BORNE = 3  #: damaged rows, however few there are
PLACES_SHOWN = 5
_MANY = 0.1  #: of the rows: their times are not damaged, but of another form
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_ISO = "%Y-%m-%d"
_WHOLE = ((r"(19|20)\d{6}", "%Y%m%d"), (r"(19|20)\d{12}", "%Y%m%d%H%M%S"))  # dates without a mark between


@dataclass
class Read:
    """What was read of a file.

    Attributes:
        file, bytes, sha256: its name, size and checksum.
        rows: read; cut ones too.
        cut: lines of too few or too many fields.
        dropped: damaged ones by reason: "rows", and the "first" places.
        unasked: how many the mapping leaves out, by what does: "where", or "dates", from and to.
        first: the place, the reason and the raw value of its first damaged row.
    """

    file: str
    bytes: int
    sha256: str
    rows: int = 0
    cut: list[int] = field(default_factory=list)
    dropped: dict[str, dict[str, Any]] = field(default_factory=dict)
    unasked: dict[str, int] = field(default_factory=dict)
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
    if times is not None and times.count > max(ALWAYS_BORNE, _MANY * read.rows, allowed * read.rows):
        _refuse_form(raw, times, read.rows, time)
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


def _refuse_form(raw: RawFile, times: Damage, rows: int, time: Time) -> None:
    """Refuse a file whose times are of another unit or form: every row of it would be damaged one by one."""
    place, unit = _where(raw, raw.place(times.rows[0])), _looks_like(times.value, time)
    if unit is not None:
        raise TraceError(
            f"{place}: {time.name} is {times.value}, which looks like "
            f"{_UNITS[unit]}, expected {_UNITS.get(time.unit, 'a date and time')}. State the unit in the "
            "mapping, or convert the column."
        )
    value = (times.value or "").strip()
    form = form_of(value)
    iso = form is not None and form.startswith(_ISO)
    as_asked = iso if time.format is None and time.unit == "iso" else form == time.format
    if not value or (form is None and (_number(value) is not None or time.format is None)) or as_asked:
        return  # missing, or of the form that was asked for: damaged
    if form is None:
        meant = 'Correct the format: "%d %b %Y %H:%M" is 30 Nov 2000 18:05'
    elif iso:
        meant = 'State unit = "iso"'
    else:
        meant = f"State format = {json.dumps(form)}"
        other = form.replace("%m", "%").replace("%d", "%m").replace("%/", "%d/")
        if form.startswith("%m/%d/") and int(value.split("/")[1]) <= 12 and other != time.format:
            meant += f", or {json.dumps(other)} where the day comes first,"
    raise TraceError(
        f"{place}: the time ({time.name}) is {value!r}, expected {_form_asked(time)}; {times.count:,} of "
        f"{rows:,} rows have none of that form. {meant} in the mapping's time."
    )


def _form_asked(time: Time) -> str:
    if time.format is not None:
        return f"format = {json.dumps(time.format)}"
    return _UNITS.get(time.unit, "ISO 8601, such as 2000-11-30 or 2000-11-30 18:05:00")


def form_of(value: str) -> str | None:
    """The format of a date as text, and of its time of day; None for one of no known form.

    Of 3/4/2000 the month is taken for the first, as dates with slashes mostly have it, of 3.4.2000 the day.
    """
    value = value.strip()
    whole = next((form for pattern, form in _WHOLE if re.fullmatch(pattern, value)), None)
    if whole is not None:
        return whole
    found = re.fullmatch(
        r"(\d+)([/.-])(\d+)\2(\d+)(?:([ T])(\d+:\d+)(:\d+)?(\.\d+)?( ?)([AaPp][Mm])?)?", value
    )
    if found is None:
        return None
    one, mark, two, three, space, minutes, seconds, fraction, gap, half = found.groups()
    if len(one) == 4:
        order = "Ymd"
    else:
        year = "Y" if len(three) == 4 else "y"
        day_first = int(one) > 12 or (mark == "." and int(two) <= 12)
        order = ("dm" if day_first else "md") + year
    form = mark.join(f"%{part}" for part in order)
    if minutes:
        form += f"{space}%{'I' if half else 'H'}:%M" + (":%S" if seconds else "")
        form += (".%f" if fraction else "") + (f"{gap}%p" if half else "")
    return form


def _looks_like(value: str | None, time: Time) -> str | None:
    """The unit in which a number would be a time of these years, where it is another than the mapping's."""
    number = _number(value)
    if number is None:
        return None
    units = [unit for unit, per in PER_MS.items() if EARLIEST_MS <= number / per < LATEST_MS]
    return units[0] if units and units[0] != time.unit else None


def _number(value: str | None) -> float | None:
    try:
        return float(value or "")
    except ValueError:
        return None


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
