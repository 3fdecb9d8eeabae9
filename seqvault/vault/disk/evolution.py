"""Schema evolution: which schema a store goes on with, given those it was written under.

A higher version adds columns, which read as their default in older behaviours, and drops columns. A name that
was dropped does not come back: some of its old values may still be stored, others are gone.
"""

from collections.abc import Sequence

from seqvault.errors import SchemaError
from seqvault.schema import HistorySchema

__all__ = ["evolve"]


def evolve(versions: Sequence[HistorySchema], asked: HistorySchema | None) -> tuple[HistorySchema, ...]:
    """All versions of a sequence's schema, the one to go on with last.

    Args:
        versions: those stored, oldest first; none for a new sequence.
        asked: the schema the caller opens with; None for the newest stored.

    Raises:
        SchemaError: the caller's schema is older than the store, or no successor of what is stored.
    """
    if asked is None or (versions and asked == versions[-1]):
        return tuple(versions)
    if not versions:
        return (asked,)
    newest = versions[-1]
    if asked.name != newest.name or asked.version <= newest.version:
        raise SchemaError(
            f"the store was made with schema {newest.to_dict()}, opened with {asked.to_dict()}: give a "
            "changed schema its name and a higher version, or open with schema=None for the newest stored"
        )
    for older in versions:
        _check_columns(older, newest, asked)
    return (*versions, asked)


def _check_columns(older: HistorySchema, newest: HistorySchema, asked: HistorySchema) -> None:
    for column in asked.columns:
        if column.name not in older.names:
            continue
        old = older.columns[older.names.index(column.name)]
        made = f"the store was made with schema {older.name!r} version {older.version}, whose column {old}"
        if (old.dtype, old.default) != (column.dtype, column.default):
            raise SchemaError(
                f"{made} is {column} in version {asked.version}: a column keeps its dtype and its default; "
                "add one of another name"
            )
        if column.name not in newest.names:
            raise SchemaError(
                f"{made} was dropped by version {newest.version}: version {asked.version} cannot bring the "
                "name back; add the column under another name"
            )
