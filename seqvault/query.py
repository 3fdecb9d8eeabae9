"""One read, its arguments checked: whose behaviours, which of them, which columns. Every store begins so."""

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple, TypedDict, Unpack

import numpy as np

from seqvault.errors import SchemaError, StoreError
from seqvault.schema import Array, HistorySchema

__all__ = ["FIRST_S", "NO_BOUND_S", "NO_LIMIT", "Conditions", "Query", "bound_s", "only_sequence", "users_of"]

NO_BOUND_S = int(np.iinfo("i8").max)
"""An end in seconds that bounds nothing: a behaviour of this very time is read too."""
FIRST_S = int(np.iinfo("i8").min)
NO_LIMIT = int(np.iinfo("i8").max)

_U8, _I8 = np.dtype("u8"), np.dtype("i8")


class Conditions(TypedDict, total=False):
    """What every reading method of every store takes by keyword besides users and a bound; HistoryStore says
    in which order they apply.

    Attributes:
        columns: names of the columns to return; None for all.
        scenes, actions: only behaviours whose scene, whose action is one of these; None for all.
        distinct: column of whose equal values only the newest behaviour is left; None for all.
    """

    columns: Sequence[str] | None
    scenes: Sequence[int] | None
    actions: Sequence[int] | None
    distinct: str | None


class Query(NamedTuple):
    """What to read of each of U users: the newest n behaviours that pass every condition.

    Attributes:
        users: (U,) u8, as asked for; they may repeat and may be unknown.
        names: columns to return, each once.
        n: at most so many behaviours per user; NO_LIMIT for all.
        start_s: behaviours before it are left out.
        end_s: behaviours at or after it are left out (NO_BOUND_S: none); or (U,) i8, each user's own end.
        scenes, actions: the codes to keep, in the dtype of the columns `scene` and `action`; None keeps all.
        distinct: column of whose equal values only the newest behaviour counts; None counts all.
    """

    users: Array
    names: tuple[str, ...]
    n: int
    start_s: int
    end_s: int | Array
    scenes: Array | None
    actions: Array | None
    distinct: str | None

    @classmethod
    def last(
        cls,
        schema: HistorySchema,
        user_ids: object,
        n: int,
        before_s: object = None,
        columns: Sequence[str] | None = None,
        scenes: Sequence[int] | None = None,
        actions: Sequence[int] | None = None,
        distinct: str | None = None,
    ) -> "Query":
        """The arguments of HistoryStore.read_last. Raises SchemaError, StoreError for a negative n."""
        users = users_of(user_ids)
        return cls(
            users,
            schema.names if columns is None else schema.chosen(columns),
            _count(n),
            FIRST_S,
            bound_s(before_s, len(users)),
            None if scenes is None else _codes(schema, "scene", scenes),
            None if actions is None else _codes(schema, "action", actions),
            None if distinct is None else _column(schema, distinct),
        )

    @classmethod
    def between(
        cls,
        schema: HistorySchema,
        user_ids: object,
        start_s: float,
        end_s: float,
        **conditions: Unpack[Conditions],
    ) -> "Query":
        """The arguments of HistoryStore.read_range. Raises SchemaError."""
        whole = cls.last(schema, user_ids, NO_LIMIT, end_s, **conditions)
        return whole._replace(start_s=_second(start_s))

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that the conditions look at, and `time_s`."""
        keys = ["time_s"]
        if self.scenes is not None:
            keys.append("scene")
        if self.actions is not None:
            keys.append("action")
        if self.distinct is not None and self.distinct not in keys:
            keys.append(self.distinct)
        return tuple(keys)


def users_of(user_ids: object) -> Array:
    """(U,) u8 of whatever was given as such. Raises SchemaError."""
    if type(user_ids) is np.ndarray and user_ids.dtype is _U8 and user_ids.ndim == 1:
        return user_ids
    users = np.asarray(user_ids)
    if users.ndim != 1:
        raise SchemaError(f"user_ids has shape {users.shape}: expected (U,)")
    if users.dtype == _U8:
        return users
    # One user is the common request: asking numpy for the least of one costs 2 µs.
    if users.size and (users.dtype.kind not in "iu" or int(users[0] if users.size == 1 else users.min()) < 0):
        raise SchemaError("user_ids: expected non-negative integers")
    return users.astype(_U8)


def _count(n: int) -> int:
    try:
        count = operator.index(n)
    except TypeError:
        raise StoreError(f"n={n!r}: expected a whole number of behaviours") from None
    if count < 0:
        raise StoreError(f"n={n}: expected 0 or more behaviours")
    return min(count, NO_LIMIT)


def bound_s(before_s: object, users: int) -> int | Array:
    """An end in whole seconds, one for all or one for each of the users. Raises SchemaError."""
    if before_s is None:
        return NO_BOUND_S
    if isinstance(before_s, int | float):
        return _second(before_s)
    ends = np.asarray(before_s)
    if ends.ndim == 0:
        return _second(ends.item())
    if ends.shape != (users,) or ends.dtype.kind not in "iuf":
        raise SchemaError(
            f"before_s has shape {ends.shape} of {ends.dtype}: expected a number of seconds "
            f"or ({users},) of them"
        )
    if ends.dtype == _I8:
        return ends
    return np.array([_second(end) for end in ends.tolist()], "i8")


def _second(time_s: object) -> int:
    """The first whole second not before a time: t < 3.5 and t < 4 keep the same behaviours."""
    try:
        second = time_s if isinstance(time_s, int) else math.ceil(time_s)  # type: ignore[call-overload]
    except OverflowError:  # an infinity
        second = NO_BOUND_S if time_s > 0 else FIRST_S  # type: ignore[operator]
    except (TypeError, ValueError):
        raise SchemaError(f"{time_s!r} is no time: expected a number of seconds") from None
    return max(FIRST_S, min(NO_BOUND_S, int(second)))


def _codes(schema: HistorySchema, name: str, codes: Sequence[int]) -> Array:
    if name not in schema.names:
        raise SchemaError(f"schema {schema.name!r} has no column {name!r}: read without {name}s")
    wanted = np.atleast_1d(np.asarray(codes))
    dtype = schema.dtype(name)
    if wanted.size == 0:
        return np.empty(0, dtype)
    if wanted.dtype.kind not in "iu" or wanted.ndim > 1:
        raise SchemaError(f"{name}s={codes!r}: expected integers, such as [1, 2]")
    limits = np.iinfo(dtype.str)
    low, high = int(wanted.min()), int(wanted.max())
    if low < limits.min or high > limits.max:
        raise SchemaError(f"{name}s span {low}..{high}: expected within {limits.min}..{limits.max} ({dtype})")
    return wanted.astype(dtype)


def _column(schema: HistorySchema, distinct: str) -> str:
    if distinct not in schema.names:
        raise SchemaError(f"distinct={distinct!r}: schema {schema.name!r} has {list(schema.names)}")
    return distinct


def only_sequence(sequence: str | None) -> None:
    """For stores that hold one sequence. Raises StoreError when one is named."""
    if sequence is not None:
        raise StoreError(
            f"sequence={sequence!r}: expected None; only the store kind 'seqvault' holds several sequences"
        )
