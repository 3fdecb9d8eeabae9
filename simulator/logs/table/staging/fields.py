"""A mapping's fields as SQL over raw columns: their values, and what is wrong with a row.

Start at `row_of`. A row is read as staged columns (see `stage.py`); `reason` is 0, or the number of the
first of the reasons that holds for it, and `found` the raw value that it is about.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as Named
from dataclasses import dataclass

from simulator.logs.table.staging.mapping import (
    ACTION_CODES,
    Action,
    Behaviours,
    Category,
    Column,
    Dwell,
    Flag,
    Impressions,
    ListColumn,
    Scene,
    Time,
)
from simulator.logs.table.staging.sql import literal, quoted, whole_id, whole_number
from simulator.logs.table.staging.text_file import MISSING
from simulator.traffic.behaviours import CLICK, SHORT

#: 1990 to 2100: another unit falls far outside, and MovieLens begins in 1995.
EARLIEST_MS, LATEST_MS = 631_152_000_000, 4_102_444_800_000
MAX_DWELL_S = 65_535
PER_MS = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}
_WIDE_INTEGERS = ("UBIGINT", "HUGEINT")  # that may not fit BIGINT
_INTEGERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"),
    *_WIDE_INTEGERS,
)
#: What a spreadsheet makes of a long id; its last digits are lost.
_SPREADSHEET = r"[0-9]\.[0-9]+[eE]\+[0-9]+"
YES = "('1','true','t','yes','y','1.0')"  #: what a flag takes for 1, in lower case
_NO = "('0','false','f','no','n','0.0')"


@dataclass(frozen=True)
class Reason:
    """One thing that may be wrong with a row.

    Attributes:
        text: in reports.
        condition: SQL over the staged columns; true where it is wrong.
        found: SQL of the raw value.
        field: the mapping's field.
    """

    text: str
    condition: str
    found: str
    field: str


#: What programs write for an id that is not there; else all who have none would be one user named NA.
_MISSING = f"({', '.join(map(literal, MISSING))})"


class Fields:
    """Raw columns of known types as SQL.

    Args:
        types: DuckDB's type of each raw column.
        zone: of times without an offset.
    """

    def __init__(self, types: Named[str, str], zone: str) -> None:
        self._types, self._zone = types, zone

    def raw(self, field: Column) -> tuple[str, str]:
        """A field's raw value as SQL, and its type ("" where SQL decides)."""
        if field.sql is not None:
            return f"({field.sql})", ""
        name = (field.column or "").removeprefix("items.") if field.of_items else field.column or ""
        return quoted(name), self._types.get(name, "")

    def text(self, field: Column) -> str:
        """The raw value as trimmed text."""
        raw, _ = self.raw(field)
        return f"trim({raw}::varchar)"

    def whole(self, field: Column, of_text: Callable[[str], str] = whole_number) -> str:
        """A whole number, or null."""
        raw, kind = self.raw(field)
        if kind in _WIDE_INTEGERS:
            return f"try_cast({raw} as bigint)"
        if kind in _INTEGERS:
            return f"{raw}::bigint"
        if kind in ("DOUBLE", "FLOAT"):
            return f"case when {raw} = floor({raw}) then try_cast({raw} as bigint) end"
        return of_text(self.text(field))

    def number(self, field: Column) -> str:
        """A number, or null."""
        return f"try_cast({self.raw(field)[0]} as double)"

    def pair(self, field: Column | None, value: str | None = None) -> tuple[str, str]:
        """An id as (number, text): one of them, or neither where it is missing."""
        if field is None:
            return "null::bigint", "null::varchar"
        if value is None:
            whole, text = self.whole(field, whole_id), self.text(field)
            kind = self.raw(field)[1]
            if kind in _WIDE_INTEGERS:  # numbers beyond BIGINT are text
                return whole, f"case when {whole} is null then {text} end"
            if kind in _INTEGERS:
                return whole, "null::varchar"
        else:
            whole, text = whole_id(value), value
        return whole, f"case when {whole} is null and {text} not in {_MISSING} then {text} end"

    def time_ms(self, field: Time) -> str:
        """Unix milliseconds, or null."""
        raw, kind = self.raw(field)
        if field.format is not None:
            form = field.format.replace("'", "''")
            return f"epoch_ms(try_strptime({raw}::varchar, '{form}') at time zone '{self._zone}')"
        if field.unit == "iso":
            if kind == "DATE":
                return f"epoch_ms({raw}::timestamp at time zone '{self._zone}')"
            return f"epoch_ms(try_cast({raw} as timestamptz))"
        if field.unit == "ms":
            return self.whole(field)
        per = PER_MS[field.unit]
        if field.unit == "s" and kind in _INTEGERS:  # exact, and cheaper; what is outside is no time
            return f"case when {raw} between 0 and {LATEST_MS // 1000} then {raw}::bigint * 1000 end"
        return f"try_cast(round({self.number(field)} / {per!r}) as bigint)"

    def flag(self, field: Flag) -> str:
        """1, 0, or null where it is neither."""
        raw, kind = self.raw(field)
        if field.equals is not None:
            values = ", ".join(literal(v) for v in field.equals)
            return f"case when {raw} is null then null else ({self.text(field)} in ({values}))::utinyint end"
        if field.at_least is not None:
            return f"({self.number(field)} >= {field.at_least!r})::utinyint"
        if kind in _INTEGERS:
            return f"case {raw} when 1 then 1 when 0 then 0 end"
        if kind == "BOOLEAN":
            return f"{raw}::utinyint"
        text = f"lower({self.text(field)})"
        return f"case when {text} in {YES} then 1 when {text} in {_NO} then 0 end"

    def action(self, field: Action | None, otherwise: str) -> str:
        """An action's code."""
        if field is None:
            return otherwise
        text = self.text(field)
        if not (field.short or field.click or field.deep):
            cases = " ".join(f"when '{name}' then {code}" for name, code in ACTION_CODES.items())
            return f"case {text} {cases} end"
        cases = " ".join(
            f"when {text} in ({', '.join(literal(v) for v in values)}) then {ACTION_CODES[name]}"
            for name, values in (("deep", field.deep), ("click", field.click), ("short", field.short))
            if values
        )
        return f"case when {text} is null then null {cases} else {SHORT} end"

    def dwell_s(self, field: Dwell | None) -> str:
        """Whole seconds, or null."""
        if field is None:
            return "0"
        per = 1000 if field.unit == "ms" else 1
        number = self.number(field)
        return f"try_cast(least(floor({number} / {per}), {MAX_DWELL_S}) as bigint)"

    def category(self, field: Category | None) -> tuple[str, str]:
        """A category as (number, text)."""
        if field is None or field.first_of is None:
            return self.pair(field)
        first = f"split_part({self.text(field)}, {literal(field.first_of)}, 1)"
        return self.pair(field, f"""trim({first}, ' []{{}}"''')""")

    def scene(self, field: Scene | None) -> tuple[str, str]:
        """A scene as (number, text)."""
        if field is None or field.values is None:
            return self.pair(field)
        cases = " ".join(f"when {literal(k)} then {v}" for k, v in field.values.items())
        return f"case {self.text(field)} {cases} end", "null::varchar"

    def list_of(self, field: ListColumn | None) -> str:
        """A list of ids as text, or null."""
        if field is None:
            return "null::varchar[]"
        raw, _ = self.raw(field)
        if field.split is not None:
            return f"str_split(trim({raw}::varchar, '[]'), {literal(field.split)})"
        return f"try_cast({raw} as varchar[])"


def row_of(
    table: Impressions | Behaviours, types: Named[str, str], zone: str
) -> tuple[dict[str, str], list[Reason]]:
    """The staged columns of a row, each as SQL, and what may be wrong with it, first things first."""
    sql = Fields(types, zone)
    shown = isinstance(table, Impressions)
    columns: dict[str, str] = {}
    columns["user_n"], columns["user_t"] = sql.pair(table.user)
    columns["item_n"], columns["item_t"] = sql.pair(table.item)
    columns["time_ms"] = sql.time_ms(table.time)
    category = table.category if table.category and not table.category.of_items else None
    columns["category_n"], columns["category_t"] = sql.category(category)
    columns["scene_n"], columns["scene_t"] = sql.scene(table.scene)
    columns["dwell_s"] = sql.dwell_s(table.dwell)
    if isinstance(table, Impressions):
        columns |= _of_an_impression(sql, table)
    else:
        columns["action"] = sql.action(table.action, str(CLICK))
    return columns, _reasons(sql, table, shown)


def constants(columns: Named[str, str]) -> dict[str, str]:
    """Those of `row_of`'s columns that the mapping leaves open: the same in every row, whatever the file."""
    return {
        name: sql for name, sql in columns.items() if sql.isdigit() or re.fullmatch(r"null::[a-z\[\]]+", sql)
    }


def derived(table: Impressions | Behaviours) -> dict[str, str]:
    """Those of `row_of`'s columns that follow from others, as SQL over these."""
    # The same number: an action of CLICK where there was a click, else SHORT.
    return {"action": "click"} if isinstance(table, Impressions) and table.action is None else {}


def _of_an_impression(sql: Fields, table: Impressions) -> dict[str, str]:
    click = sql.flag(table.click)
    bought = "null::utinyint" if table.conversion is None else sql.flag(table.conversion)
    advertiser = table.advertiser if table.advertiser and not table.advertiser.of_items else None
    columns = {
        "click": click,
        "conversion": bought,
        "action": sql.action(table.action, f"case when {click} = 1 then {CLICK} else {SHORT} end"),
        # A request's id need only tell it from others.
        "request": "null::ubigint" if table.request is None else f"hash({sql.text(table.request)})",
        "position": "null::bigint" if table.position is None else sql.whole(table.position),
        "propensity": _number(sql, table.logging_propensity),
        "bid": _money(sql, table.bid),
        "price": _money(sql, table.price),
        "candidates": sql.list_of(table.candidates),
    }
    columns["advertiser_n"], columns["advertiser_t"] = sql.pair(advertiser)
    return columns


def _number(sql: Fields, field: Column | None) -> str:
    return "null::double" if field is None else sql.number(field)


def _money(sql: Fields, field: Column | None) -> str:
    """A bid or price; null where it is none, which takes nothing from what was shown."""
    number = _number(sql, field)
    if field is None:
        return number
    return f"case when isfinite({number}::double) and {number} >= 0 then {number} end"


def _reasons(sql: Fields, table: Impressions | Behaviours, shown: bool) -> list[Reason]:
    reasons: list[Reason] = []

    def add(name: str, field: Column | None, what: str, condition: str) -> None:
        if field is not None:
            called = field.name if len(field.name) <= 40 else f"{field.name[:37]}..."
            text = f"{name} ({called}) {what}" if called != name else f"{name} {what}"
            reasons.append(Reason(text, condition, sql.raw(field)[0], name))

    outside = f"time_ms is null or time_ms < {EARLIEST_MS} or time_ms >= {LATEST_MS}"
    add("time", table.time, "missing, no time, or outside 1990 to 2100", outside)
    for name, field in (("user", table.user), ("item", table.item)):
        missing = f"({name}_n is null and {name}_t is null)" if shown or name == "user" else "false"
        add(name, field, "missing or negative", f"{missing} or {name}_n < 0")
        rounded = f"regexp_full_match({name}_t, '{_SPREADSHEET}')"
        add(name, field, "rounded by a spreadsheet (as 1.23E+11)", rounded)
    if isinstance(table, Impressions):
        for name in ("click", "conversion"):
            flag: Flag | None = getattr(table, name)
            missing = "missing or no number" if flag and flag.at_least is not None else "neither 0 nor 1"
            add(name, flag, "missing" if flag and flag.equals else missing, f"{name} is null")
        add("position", table.position, "missing or no whole number", "position is null")
        wrong = "propensity is null or propensity < 0"
        add("propensity", table.logging_propensity, "missing or negative", wrong)
    add("action", table.action, "missing or no action", "action is null")
    add("dwell", table.dwell, "missing, no number or negative", "coalesce(dwell_s, -1) < 0")
    add("scene", table.scene, "outside 0 to 255", "scene_n < 0 or scene_n > 255")
    add("scene", table.scene, "missing, or none of the values", "scene_n is null and scene_t is null")
    return reasons


def columns_read(tables: list[Column | str | None], names: list[str]) -> tuple[list[str], set[str]]:
    """The raw columns that fields and SQL texts read, and those of them that SQL texts mention.

    Args:
        tables: fields, or SQL texts.
        names: all raw columns.
    """
    direct: list[str] = []
    mentioned: set[str] = set()
    for field in tables:
        if isinstance(field, str) or (field is not None and field.sql is not None):
            text = field if isinstance(field, str) else field.sql or ""
            mentioned |= {name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.I)}
        elif field is not None and field.column is not None:
            direct.append(field.column.removeprefix("items.") if field.of_items else field.column)
    return list(dict.fromkeys([*direct, *sorted(mentioned)])), mentioned
