"""Out of memory in one form: torch has an exception for GPUs and a bare RuntimeError for the CPU.

Training and scoring do their work inside `memory_told`, so that whoever calls them meets one error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from laser.errors import LaserError

_ON_CPU = "DefaultCPUAllocator"  # of the message; torch has no class of its own for it


class DeviceMemoryError(LaserError):
    """A device has less free memory than the work needs."""

    passing = True  # the next time others may use less of it


@contextmanager
def memory_told(device: torch.device, work: str, advice: str) -> Iterator[None]:
    """Turn torch's ways of saying "out of memory" into one.

    Args:
        device: where the work is done.
        work: what it is, as in "training on 128 requests at a time".
        advice: how to need less.

    Raises:
        DeviceMemoryError: the work ran out of the device's memory. Other errors pass as they are.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(
            f"{device} is out of memory while {work} (torch: {_first_sentences(error)}). {advice}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch says that a device's memory is used up."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _ON_CPU in str(error)


def _first_sentences(error: RuntimeError) -> str:
    """What was asked for and what was there; torch goes on with hints on its own settings."""
    line = str(error).strip().split("\n")[0]
    return ". ".join(line.split(". ")[:3]).rstrip(".")
