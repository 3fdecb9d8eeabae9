"""A cursor over two-byte words: the form every column section has; and u8 of integers."""

from seqvault.schema import Array
from seqvault.vault.format.damage import BAD_COLUMN, BlockDamage

__all__ = ["Words", "words_of"]


class Words:
    """Reads words in order and never leaves them."""

    def __init__(self, words: Array) -> None:
        self._words = words
        self._at = 0

    def take(self, count: int) -> Array:
        """The next `count` words. Raises BlockDamage when fewer are left."""
        end = self._at + count
        if end > len(self._words):
            raise BlockDamage(BAD_COLUMN)
        taken = self._words[self._at : end]
        self._at = end
        return taken

    def one(self) -> int:
        """The next word."""
        return int(self.take(1)[0])

    def four(self) -> int:
        """The next four words as one u8."""
        return int.from_bytes(self.take(4).tobytes(), "little")


def words_of(values: Array) -> Array:
    """Integers of any width as u8, modulo 2**64."""
    return values.astype("i8").view("u8") if values.dtype.kind == "i" else values.astype("u8")
