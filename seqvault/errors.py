"""The errors a store raises: ValueErrors that say what was found, what was expected and what to do.

Whoever uses the store can mend them. Any other exception that leaves it is a defect, or an argument that
breaks a docstring's promise.
"""

__all__ = [
    "DamagedDataError",
    "ExpiredWarning",
    "PluginError",
    "SchemaError",
    "StoreClosedError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreReadOnlyError",
]


class StoreError(ValueError):
    """Base of every error that is the user's to mend."""


class SchemaError(StoreError):
    """Columns, dtypes or values do not fit the store's HistorySchema."""


class StoreClosedError(StoreError):
    """The store was used after close(), or in a child forked from the process that opened it."""


class StoreLockedError(StoreError):
    """Another process, or another object of this one, has the store open for writing."""


class StoreReadOnlyError(StoreError):
    """A write reached a store that is read-only, or stopped: after a failed sync, or without its folder."""


class StoreFullError(StoreError):
    """The device had no space left. Nothing of the write was kept; free space and write again."""

    passing = True  # the next time there may be room


class PluginError(StoreError):
    """A store of the user's own that failed, or does not do what a store promises."""


class DamagedDataError(StoreError):
    """Stored bytes fail their checksum or contradict each other. Nothing decoded from them is returned."""


class ExpiredWarning(UserWarning):
    """Behaviours were appended that lie below their sequence's floor of expiry: they are never read."""
