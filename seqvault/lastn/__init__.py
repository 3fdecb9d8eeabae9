"""LastN: the control's store, behaviour histories in RocksDB. Start reading at `store.py`."""

from seqvault.lastn.store import LastNStore

__all__ = ["LastNStore"]
