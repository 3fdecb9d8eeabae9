"""Which of a user's rows a query wants; what every layout asks before it plans a read."""

from seqvault.query import FIRST_S, NO_BOUND_S, Query
from seqvault.schema import Array
from seqvault.select import matching

__all__ = ["bound_s", "bounded", "chosen", "filters"]


def bound_s(query: Query, i: int) -> int:
    """The end in seconds of the i-th user; NO_BOUND_S for none."""
    return query.end_s if isinstance(query.end_s, int) else int(query.end_s[i])


def filters(query: Query) -> bool:
    """Whether more than time decides about a behaviour, so that n may lie further back than n rows."""
    return query.scenes is not None or query.actions is not None or query.distinct is not None


def bounded(query: Query, i: int) -> bool:
    """Whether a bound in time cuts the i-th user's history."""
    return query.start_s != FIRST_S or bound_s(query, i) != NO_BOUND_S


def chosen(rows: Array, query: Query, i: int) -> Array:
    """The wanted ones of a user's rows, which are sorted and reach to the end of what is wanted."""
    if filters(query) or bounded(query, i):
        return rows[matching(rows, query, i)]
    return rows[max(0, len(rows) - query.n) :]
