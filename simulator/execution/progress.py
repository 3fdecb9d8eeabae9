"""How long work reports to its caller where it stands. The command line draws it; the library only speaks."""

from typing import Protocol


class Progress(Protocol):
    """Called as often as it is convenient; an implementation must return quickly."""

    def stage(self, name: str, done: int, total: int) -> None:
        """`done` of `total` steps of a stage; a new name starts a new stage, done == total ends it."""


class Silent:
    """Says nothing: for libraries, pipes and `--quiet`."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Ignore it."""
