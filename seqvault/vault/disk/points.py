"""Kill points: the named moments of a write between which a crash must not matter.

They do nothing unless a hook is set, or the environment says SEQVAULT_KILL_AT=name:count: then the process
kills itself (SIGKILL) when it passes that point for the count-th time."""

import os
import signal
from collections.abc import Callable

__all__ = ["POINTS", "hook", "point"]

# In the order a write passes them; a test that kills at each of them iterates over this.
POINTS = (
    "wal.writing",
    "wal.written",
    "wal.synced",
    "log.made",
    "log.written",
    "log.synced",
    "log.named",
    "segment.made",
    "segment.writing",
    "segment.written",
    "segment.synced",
    "segment.renamed",
    "segment.named",
    "manifest.made",
    "manifest.written",
    "manifest.synced",
    "manifest.renamed",
    "manifest.named",
    "seal.begun",
    "seal.adopted",
    "wal.dropped",
    "compaction.begun",
    "compaction.copied",
    "compaction.adopted",
    "compaction.dropped",
    "recovery.begun",
    "recovery.replayed",
    "recovery.swept",
    "snapshot.linked",
    "snapshot.copied",
    "snapshot.named",
)

# Called with the name of every point passed, when it is not None.
hook: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Pass a kill point."""
    if hook is not None:
        assert name in POINTS, name
        hook(name)


def _killer(order: str) -> Callable[[str], None]:
    name, _, count = order.partition(":")
    if name not in POINTS or not (count or "1").isdigit():
        raise ValueError(f"SEQVAULT_KILL_AT={order!r}: expected NAME:COUNT, NAME one of {', '.join(POINTS)}")
    left = int(count or "1")

    def pass_by(passed: str) -> None:
        nonlocal left
        left -= passed == name
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return pass_by


if os.environ.get("SEQVAULT_KILL_AT"):
    hook = _killer(os.environ["SEQVAULT_KILL_AT"])
