"""What can be wrong with a block, as the codes kernels return, and in words."""

__all__ = [
    "BAD_CALL",
    "BAD_COLUMN",
    "BAD_HASH",
    "BAD_MAGIC",
    "BAD_SIZE",
    "BAD_ZSTD",
    "NOT_EXPECTED",
    "OK",
    "BlockDamage",
    "damage",
]

OK = 0
BAD_MAGIC = 1
BAD_SIZE = 2
BAD_HASH = 3
NOT_EXPECTED = 4
BAD_COLUMN = 5
BAD_ZSTD = 6
BAD_CALL = 7

_WORDS = {
    BAD_MAGIC: "does not begin as a block",
    BAD_SIZE: "has another size than its header says",
    BAD_HASH: "fails its checksum",
    NOT_EXPECTED: "is not the block the index lists there",
    BAD_COLUMN: "holds a malformed column",
    BAD_ZSTD: "holds a compressed column that does not decompress",
    BAD_CALL: "was asked for rows or columns it does not have",
}


def damage(code: int) -> str:
    """A code in words, to follow 'the block at byte ...'."""
    return _WORDS[code]


class BlockDamage(Exception):
    """A plain decoder's way to return a code; callers turn it into DamagedDataError naming the file."""

    def __init__(self, code: int) -> None:
        super().__init__(damage(code))
        self.code = code
