"""The readers' lock: who waits for whom."""

import threading
import time

import pytest

from seqvault.vault.kernels.reads.locks import BUSY, end, enter, leave
from seqvault.vault.reading.locks import ReadersWriterLock


class Waiting:
    """A call in a thread of its own."""

    def __init__(self, call) -> None:
        self.done = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call) -> None:
        call()
        self.done.set()

    def is_kept_waiting(self) -> bool:
        return not self.done.wait(0.05)

    def ends(self) -> bool:
        return self.done.wait(600)


def change(lock: ReadersWriterLock) -> None:
    with lock.exclusive():
        pass


def test_writer_waits_for_a_reader_that_looks_and_not_for_one_that_decodes() -> None:
    lock = ReadersWriterLock()
    parity = enter(lock.address)
    writer = Waiting(lambda: change(lock))
    assert writer.is_kept_waiting()
    leave(lock.address)
    assert writer.ends()
    change(lock)
    end(lock.address, parity)


def test_reader_is_turned_away_while_a_writer_changes_things() -> None:
    lock = ReadersWriterLock()
    with lock.exclusive():
        assert enter(lock.address) == BUSY
        waiting = Waiting(lock.wait)
        assert waiting.is_kept_waiting()
        with lock.exclusive():
            pass
        assert enter(lock.address) == BUSY
    assert waiting.ends()
    parity = enter(lock.address)
    assert parity in (0, 1)
    leave(lock.address)
    end(lock.address, parity)


def test_draining_waits_for_reads_begun_before_and_not_for_later_ones() -> None:
    lock = ReadersWriterLock()
    for _ in range(3):
        before = enter(lock.address)
        leave(lock.address)
        draining = Waiting(lock.drain)
        assert draining.is_kept_waiting()
        later = enter(lock.address)
        leave(lock.address)
        end(lock.address, before)
        # The later one may have begun in the epoch that is drained second; it must not keep others waiting.
        end(lock.address, later)
        assert draining.ends()


def test_section_that_raises_lets_readers_in_again() -> None:
    lock = ReadersWriterLock()
    with pytest.raises(KeyError), lock.exclusive():
        raise KeyError
    assert enter(lock.address) != BUSY


def test_shared_section_keeps_a_writer_waiting_in_plain_mode_too() -> None:
    for plain in (False, True):
        lock = ReadersWriterLock(plain=plain)
        with lock.shared():
            writer = Waiting(lambda lock=lock: change(lock))
            assert writer.is_kept_waiting()
        assert writer.ends()
        lock.drain()


def test_exclusive_sections_exclude_each_other() -> None:
    lock = ReadersWriterLock()
    inside, most = 0, 0

    def enter_often() -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock.exclusive():
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [Waiting(enter_often) for _ in range(3)]
    assert all(thread.ends() for thread in threads)
    assert most == 1
