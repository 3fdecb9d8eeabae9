"""The one error of this package: a result file that cannot be written or read."""

from __future__ import annotations

import errno
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from simulator.errors import SimulatorError


class ResultsError(SimulatorError):
    """A run or sweep folder is missing, damaged, taken or cannot be written.

    Attributes:
        file: the file or folder concerned.
        reason: what was found, and what was expected.
        do: what the reader of the message can do about it.
        passing: whether it may be gone the next time, see `can_pass`.
    """

    passing = False

    def __init__(self, file: Path | str, reason: str, do: str) -> None:
        self.file = Path(file)
        self.reason = reason
        self.do = do
        super().__init__(f"{file}: {reason} {do}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send errors home; the default would call this class with its message alone.
        return type(self), (self.file, self.reason, self.do), self.__dict__


def from_os_error(file: Path, error: OSError, *, resumable: bool = True) -> ResultsError:
    """Say what an OSError met while writing `file` means.

    It is passing, and says so itself: on the way home from a worker process an error loses its cause.

    Args:
        file: what could not be written.
        error: why.
        resumable: whether it belongs to a folder that exists, and can be resumed.
    """
    found = ResultsError(file, *_in_words(error, resumable))
    found.passing = True
    return found


def _in_words(error: OSError, resumable: bool) -> tuple[str, str]:
    """What was found and expected, and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not resumable:
        found = "found a full disk" if full else f"could not be written ({error.strerror or error})"
        return (
            f"{found}, expected room in a writable folder; nothing was written.",
            f"{'Free some space' if full else 'Check the folder'}, or choose another place.",
        )
    if full:
        return (
            "found a full disk, expected room for this file.",
            "Free some space and continue with --resume, or choose another folder with --out; "
            "everything written before this file is safe.",
        )
    return (
        f"could not be written ({error.strerror or error}), expected a writable folder.",
        "Check the folder's permissions and disk, then continue with --resume.",
    )


def can_pass(error: BaseException) -> bool:
    """Whether what stopped the work may be gone the next time, as a full disk or a killed worker may.

    An error may say so itself (`passing`). Anything else follows from the inputs and the code, and would stop
    a resumed run at the same place.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, MemoryError, BrokenExecutor)) or getattr(cause, "passing", False):
            return True
        # `raise ... from None` says that what it was raised amid is not its cause.
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return False
