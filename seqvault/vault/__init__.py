"""SeqVault: lifelong histories in packed columnar blocks. Start reading at `store.py`."""

from seqvault.vault.store import SeqVault

__all__ = ["SeqVault"]
