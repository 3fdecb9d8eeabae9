"""SeqVault: lifelong histories in packed columnar blocks.

Start at `store.py`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqvault.vault.store import SeqVault

__all__ = ["SeqVault"]


# The codecs and the checksum serve tools that need no store.
def __getattr__(name: str) -> Any:
    if name == "SeqVault":
        from seqvault.vault.store import SeqVault

        return SeqVault
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
