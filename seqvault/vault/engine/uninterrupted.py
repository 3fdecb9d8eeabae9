"""Work that an interrupt (Ctrl-C) must not leave half done.

Python raises interrupts in the main thread alone, wherever that happens to be. So what must be done whole is
done by another thread, for which the main thread waits: an interrupt ends the waiting, and no sync.
"""

import _thread
import threading
from collections.abc import Callable

__all__ = ["uninterrupted"]


def uninterrupted(work: Callable[[], None]) -> None:
    """Do `work`; an interrupt that comes meanwhile is raised once it is done, or before it has begun.

    Raises:
        BaseException: the interrupt, with what the work raised as its cause; without one, that itself.
    """
    if threading.current_thread() is not threading.main_thread():
        work()
        return
    # A bare thread and bare locks: an interrupt within an Event may leave it locked for ever, and one within
    # what the end of a Thread calls is lost.
    begun, gate = threading.Lock(), threading.Lock()
    over: list[bool] = []
    failed: list[BaseException] = []
    interrupt: BaseException | None = None

    def run() -> None:
        try:
            if begun.acquire(blocking=False):
                work()
        except BaseException as error:
            failed.append(error)
        over.append(True)
        gate.release()

    gate.acquire()
    try:
        _thread.start_new_thread(run, ())
    except BaseException as error:
        # Whoever comes first: where this thread does, the work has not begun, and will not.
        if begun.acquire(blocking=False):
            if not isinstance(error, RuntimeError):
                raise
            # No thread is to be had: an interrupt may leave the work half done.
            work()
            return
        interrupt = error
    while not over:
        try:
            gate.acquire()
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt from (failed.pop() if failed else None)
    if failed:
        raise failed.pop()
