"""Rows that hold lists, such as a page's items or a user's history: one row for each element.

A raw row `user, shown = [a, b]` becomes two, with the element as column EACH and its place as column PLACE.
"""

from __future__ import annotations

from collections.abc import Mapping as Named

from simulator.logs.table.staging.fields import Fields
from simulator.logs.table.staging.mapping import ListColumn
from simulator.logs.table.staging.sql import literal

EACH, PLACE = "each", "each_place"  #: the element, and its place in the list from 1


def unfolded(relation: str, field: ListColumn | None, types: Named[str, str], zone: str) -> str:
    """SQL of a relation with one row for each element; the relation itself without a field.

    A row whose list is missing or empty stays one row, of a missing element, so that it is counted.

    Args:
        relation: SQL of the raw rows.
        field: the list.
        types: DuckDB's type of each raw column.
        zone: of times without an offset.
    """
    if field is None:
        return relation
    elements = _elements(Fields(types, zone), field)
    return (
        f"(select * exclude (_list), unnest(_list) as {EACH}, generate_subscripts(_list, 1) as {PLACE} from "
        "(select * exclude (_list), case when len(_list) > 0 then _list else [null] end as _list from "
        f"(select *, {elements} as _list from {relation})))"
    )


def _elements(sql: Fields, field: ListColumn) -> str:
    raw, kind = sql.raw(field)
    if field.split is not None:
        return f"str_split(trim({raw}::varchar, {literal('[] ' + field.split)}), {literal(field.split)})"
    if kind == "VARCHAR":  # text of a JSON array
        return f"json_extract_string(case when json_valid({raw}) then {raw} end, '$[*]')"
    return raw
