"""Whose folder it is: a store of one kind must not begin inside another's."""

from pathlib import Path

from seqvault.errors import StoreError

__all__ = ["check_kind"]

# The file without which a folder is no store of the kind.
_MARKS = {"seqvault": "MANIFEST", "lastn": "store.json"}


def check_kind(folder: Path, kind: str) -> None:
    """Raise StoreError where a folder without a store of this kind holds one of another."""
    for other, mark in _MARKS.items():
        if other != kind and (folder / mark).exists():
            raise StoreError(
                f"{folder} holds a {other} store ({mark}), not a {kind} store: open it with kind {other!r}, "
                "or name another folder"
            )
