"""The store's dictionaries as files: read when it is opened, written by full compaction, never changed."""

from pathlib import Path

from seqvault.errors import DamagedDataError
from seqvault.vault.disk.files import Own, read_file, replace_file
from seqvault.vault.disk.manifest import dictionary_name
from seqvault.vault.format.damage import BlockDamage
from seqvault.vault.format.dictionary import Dictionary

__all__ = ["read_dictionary", "write_dictionary"]


def read_dictionary(folder: Path, number: int) -> Dictionary:
    """A dictionary that the manifest names. Raises DamagedDataError."""
    path = folder / dictionary_name(number)
    try:
        dictionary = Dictionary.from_bytes(read_file(path))
    except FileNotFoundError as error:
        raise DamagedDataError(f"{path} is missing: the manifest names it; restore it from backup") from error
    except BlockDamage as error:
        raise DamagedDataError(f"{path} is damaged ({error}); restore it from backup") from error
    if dictionary.id != number:
        raise DamagedDataError(f"{path} holds dictionary {dictionary.id}; restore it from backup")
    return dictionary


def write_dictionary(folder: Path, dictionary: Dictionary, own: Own) -> Path:
    """Write a dictionary durably, before a manifest names it; returns its path. Raises as replace_file."""
    path = folder / dictionary_name(dictionary.id)
    replace_file(path, dictionary.to_bytes(), "dictionary", own)
    return path
