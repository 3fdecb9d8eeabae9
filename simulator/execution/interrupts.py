"""Ctrl-C and SIGTERM: the first lets the work end at its next checkpoint, the second ends it at once.

Long work calls `check` wherever it could be taken up again. Only the command line installs the signal
handlers, with `stops_at_checkpoints`, or `sigterm_as_ctrl_c` for work without checkpoints; a program that
calls the library keeps its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

_NOTICE = b"\nStopping at the next checkpoint. Once more ends it at once.\n"


class Interrupted(KeyboardInterrupt):
    """Work that was asked to end and did, at a checkpoint.

    Attributes:
        command: what continues it; None where that is not known.
    """

    def __init__(self, command: str | None = None) -> None:
        super().__init__(command)
        self.command = command


class Flag(Protocol):
    """What `multiprocessing.Event` and `threading.Event` have in common, as far as it is needed."""

    def is_set(self) -> bool:
        """Whether somebody set it."""


class _Asked:
    """A flag that a signal handler may set: a lock could be held by the very code it interrupts."""

    def __init__(self) -> None:
        self.value = self.listening = False

    def is_set(self) -> bool:
        return self.value


_asked = _Asked()
_flag: Flag = _asked


def asked() -> bool:
    """Whether this process was asked to end at its next checkpoint."""
    return _flag.is_set()


def check() -> None:
    """End here if that was asked for.

    Raises:
        Interrupted: it was.
    """
    if asked():
        raise Interrupted


def listen_to(flag: Flag) -> None:
    """In a worker process: the parent asks through `flag`; signals are the parent's to answer."""
    global _flag
    _flag = flag
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stops_at_checkpoints() -> Iterator[None]:
    """Answer SIGINT and SIGTERM as the module says; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # A shell starts background jobs deaf to Ctrl-C: they stay so.
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    _asked.value, _asked.listening = False, True
    for number in heard:
        signal.signal(number, _on_signal)
    try:
        yield
    finally:
        _asked.listening = False  # one more signal now would leave half of this undone
        for number, old in heard.items():
            signal.signal(number, old)
        _asked.value = False


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """For work without checkpoints: SIGTERM, too, removes what is half done. Only in the main thread."""
    heard = threading.current_thread() is threading.main_thread()
    if not heard or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back while processes are started.

    They inherit that, so that Ctrl-C, which the terminal sends to all of them, cannot end one before it
    has called `listen_to`.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _on_signal(number: int, frame: Any) -> None:
    if not _asked.listening:
        return
    if _asked.value:
        raise KeyboardInterrupt
    _asked.value = True
    os.write(2, _NOTICE)  # not print: the signal may have come in the middle of one
