"""The loops of seqvault/vault/format/tiers.py, compiled."""

from seqvault.vault.format import tiers
from seqvault.vault.kernels.compiled import kernel

__all__ = ["cut_blocks", "kept_blocks"]

kept_blocks = kernel("i8[::1](i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8)")(tiers.kept_blocks)
cut_blocks = kernel("UniTuple(i8[::1], 2)(i8[::1], i8, i8)")(tiers.cut_blocks)
