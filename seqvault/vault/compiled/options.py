"""What a SeqVault can be asked for when it is opened, checked."""

import os
from dataclasses import dataclass, field

from seqvault.errors import StoreError

__all__ = ["CODECS", "DURABILITIES", "Options"]

CODECS = ("packed", "zstd")
DURABILITIES = ("sync", "async")
# Positions inside a block are two bytes.
MOST_ROWS = 1 << 16


def _plain() -> bool:
    """Whether numpy alone serves stores: the environment asks for it, or compiled code cannot be trusted."""
    if os.environ.get("SEQVAULT_PLAIN", "") not in ("", "0"):
        return True
    from seqvault.vault.compiled.selftest import trusted

    return not trusted()


@dataclass(frozen=True)
class Options:
    """See SeqVault for what each means."""

    codec: str = "packed"
    block_rows: int = 4096
    seal_rows: int = 4_000_000
    tail_bytes: int = 256 << 20
    direct_io: bool = False
    durability: str = "sync"
    hot_bytes: int = 0
    staleness_s: float = 0.1
    flush_interval_s: float = 0.005
    flush_rows: int = 1000
    background: bool = True
    read_only: bool = False
    plain: bool = field(default_factory=_plain)

    def __post_init__(self) -> None:
        self._one_of("codec", CODECS)
        self._one_of("durability", DURABILITIES)
        if not 1 <= self.block_rows <= MOST_ROWS:
            raise StoreError(f"block_rows={self.block_rows}: expected 1..{MOST_ROWS}")
        for name in ("seal_rows", "tail_bytes", "flush_rows"):
            if getattr(self, name) < 1:
                raise StoreError(f"{name}={getattr(self, name)}: expected at least 1")
        if self.hot_bytes < 0:
            raise StoreError(f"hot_bytes={self.hot_bytes}: expected 0 or more")
        for name in ("staleness_s", "flush_interval_s"):
            if not getattr(self, name) >= 0:
                raise StoreError(f"{name}={getattr(self, name)}: expected 0 s or more")

    def _one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        if getattr(self, name) not in allowed:
            raise StoreError(f"{name}={getattr(self, name)!r}: expected {' or '.join(map(repr, allowed))}")
