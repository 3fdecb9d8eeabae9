"""The one error of this package: a result file that cannot be written or read."""

from __future__ import annotations

import errno
from pathlib import Path


class ResultsError(ValueError):
    """A run or sweep folder is missing, damaged, taken or cannot be written.

    Attributes:
        file: the file or folder concerned.
        reason: what was found, and what was expected.
        do: what the reader of the message can do about it.
    """

    def __init__(self, file: Path | str, reason: str, do: str) -> None:
        self.file = Path(file)
        self.reason = reason
        self.do = do
        super().__init__(f"{file}: {reason} {do}")


def from_os_error(file: Path, error: OSError) -> ResultsError:
    """Say what an OSError met while writing `file` means for the run."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResultsError(
            file,
            "found a full disk, expected room for this file.",
            "Free some space and continue with --resume, or choose another folder with --out; "
            "everything written before this file is safe.",
        )
    return ResultsError(
        file,
        f"could not be written ({error.strerror or error}), expected a writable folder.",
        "Check the folder's permissions and disk, then continue with --resume.",
    )
