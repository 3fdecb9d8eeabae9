"""A workload on a failing device: each step succeeds or raises a typed error, and the ledger knows which.

What an operation that failed may leave: nothing, unless the error says the store is read-only now. Then
durability is unknown; the store must refuse every further write, answer reads without the operation, and
after a reopening hold it as a whole or not at all.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from dict_model import DictModel, difference
from faulty_io import FaultyIO, FullIO
from lossy_disk import instead_of_io
from streams import ALL, SCHEMAS, Append, Operation, standard_streams
from vaults import MEMORY, open_vault

from seqvault import DamagedDataError, StoreError, StoreFullError, StoreReadOnlyError

EVERYONE = {
    name: np.concatenate([stream.users for stream in standard_streams() if stream.sequence == name])
    for name in SCHEMAS
}


class DoesNotOpenError(Exception):
    """The device fails each time the store is opened."""


class Ledger:
    """A store beside the model of what it acknowledged.

    Args:
        lasting: the device may fail for good, reads too.
    """

    def __init__(self, folder: Path, options: dict[str, Any], *, lasting: bool = False) -> None:
        self.folder, self.options, self.lasting = folder, options, lasting
        self.model = DictModel(SCHEMAS)
        self.errors: list[StoreError] = []
        self.unsure: Operation | None = None
        self.store: Any = None

    def open(self) -> None:
        """Open, again if the device makes it fail; then the store must hold what the ledger says."""
        for _ in range(3):
            try:
                self.store = open_vault(self.folder, **self.options)
                break
            except StoreError as error:
                self.errors.append(error)
        else:
            raise DoesNotOpenError(f"{self.errors[-1]!r}")
        if self.unsure is not None:
            self._make_sure(self.unsure)
        self.unsure = None
        self.compare("after opening")

    def _make_sure(self, operation: Operation) -> None:
        """Put an operation that failed in a sync into the model if the store kept it."""
        try:
            kept = self._unequal() is not None
        except DamagedDataError as error:
            self.errors.append(error)
            kept = self._unequal() is not None
        if kept:
            operation.run(self.model)

    def close(self) -> None:
        store, self.store = self.store, None
        try:
            store.close()
        except StoreError as error:
            self.errors.append(error)

    def step(self, what: Operation | Callable[[Any], object]) -> None:
        """Run an operation or maintenance; on a typed error see that nothing of it is there."""
        operation = what if not callable(what) else None
        try:
            if operation is None:
                what(self.store)  # type: ignore[operator]
            else:
                operation.run(self.store)
        except StoreError as error:
            self.errors.append(error)
            self.compare(f"after {what} failed with {error!r}")
            if isinstance(error, StoreReadOnlyError):
                self._reopen_read_only(operation)
            return
        if operation is not None:
            operation.run(self.model)

    def snapshot(self, folder: Path) -> None:
        """A snapshot that fails leaves the store as it is: its files are elsewhere."""
        try:
            self.store.snapshot(folder)
        except StoreError as error:
            self.errors.append(error)
        self.compare(f"after a snapshot, {self.errors[-1:]}")

    def compare(self, when: str) -> None:
        """Reads are right, or raise: once for a call that fails once, always when the device is gone."""
        unequal = None
        for _ in range(2):
            try:
                unequal = self._unequal()
                break
            except DamagedDataError as error:
                self.errors.append(error)
        else:
            assert self.lasting, f"{when}: {self.errors}"
        assert unequal is None, f"{when}: {unequal}; errors so far {self.errors}"

    def _reopen_read_only(self, operation: Operation | None) -> None:
        stream = standard_streams()[0]
        for further in (stream.operation(0), stream.operation(1)):
            try:
                further.run(self.store)
            except StoreReadOnlyError:
                continue
            raise AssertionError(f"a write succeeded after {self.errors[-1]!r}")
        self.unsure = operation
        self.close()
        self.open()

    def _unequal(self) -> str | None:
        for name, users in EVERYONE.items():
            found = self.store.read_last(users, ALL, sequence=name)
            unequal = difference(found, self.model.read_last(users, ALL, sequence=name))
            if unequal is not None:
                return f"{name}: {unequal}"
        return None


def run(ledger: Ledger, steps: int, seed: int = 0, first: int = 0) -> None:
    """Operations of all streams, maintenance among them, the store closed and opened twice."""
    rng = np.random.default_rng(seed)
    streams = standard_streams()
    numbers = {stream.number: first for stream in streams}
    maintenance = (
        lambda store: store.seal(),
        lambda store: store.compact(),
        lambda store: store.compact(full=True),
        lambda store: store.flush(),
    )
    for step in range(steps):
        if step % (steps // 3) == 0:
            if ledger.store is not None:
                ledger.close()
            ledger.open()
        stream = streams[int(rng.integers(len(streams)))]
        operation = stream.operation(numbers[stream.number])
        numbers[stream.number] += 1
        ledger.step(operation)
        if step % 8 == 7:
            ledger.step(maintenance[int(rng.integers(len(maintenance)))])
        if step % 40 == 20:
            snapshot = ledger.folder.parent / f"snapshot-{first}-{step}"
            ledger.snapshot(snapshot)
    ledger.compare("at the end")


def calls(steps: int) -> int:
    """I/O calls of the workload when nothing fails."""
    device = FaultyIO(-1, "EIO")
    _on(device, steps, {})
    return device.calls


def fail_at(calls: list[int], fault: str, steps: int, lasting: bool) -> list[str]:
    """Let these calls fail, each in a run of its own; the error types raised.

    Raises:
        AssertionError: a promise breaks.
    """
    errors = []
    for at in calls:
        device = FaultyIO(at, fault, lasting=lasting)
        try:
            ledger = _on(device, steps, {})
            raised = [type(error).__name__ for error in ledger.errors]
            assert fault != "short" or not raised, f"a short {device.failed} was not completed: {raised}"
        except Exception as error:
            error.add_note(f"{fault} at call {at}")
            raise
        errors += raised
    return errors


def _on(device: FaultyIO, steps: int, options: dict[str, Any]) -> Ledger:
    root = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY))
    try:
        ledger = Ledger(root / "vault", options, lasting=device.lasting)
        # A device that fails for good ends the workload at the next opening.
        expected = (DoesNotOpenError,) if device.lasting else ()
        with instead_of_io(device), suppress(*expected):
            run(ledger, steps)
        if ledger.store is not None:
            ledger.close()
        run(ledger, 9, seed=1, first=10_000)
        ledger.close()
        return ledger
    finally:
        shutil.rmtree(root)


def fill(left: int, steps: int, options: dict[str, Any]) -> dict[str, int]:
    """A device with `left` bytes: whole operations fit or fail; then space is freed, and all goes on."""
    root = Path(tempfile.mkdtemp(prefix="full-", dir=MEMORY))
    device = FullIO(left)
    try:
        ledger = Ledger(root / "vault", options)
        with instead_of_io(device):
            _fill_up(ledger, device, steps)
            failed = len(ledger.errors)
            device.left = float("inf")
            go_on(ledger)
        return {"failed": failed, "refused": device.refused}
    finally:
        shutil.rmtree(root)


def taken(steps: int) -> int:
    """The most bytes the workload holds on a device with space for all."""
    root = Path(tempfile.mkdtemp(prefix="full-", dir=MEMORY))
    device = FullIO(1 << 40)
    try:
        with instead_of_io(device):
            run(Ledger(root / "vault", {}), steps)
        return (1 << 40) - device.least
    finally:
        shutil.rmtree(root)


def fill_really(folder: str, kilobytes: int) -> int:
    """Write until a small file system is full, five times over; then it grows. How many writes failed."""
    ledger = Ledger(Path(folder) / "vault", {})
    _resize(folder, kilobytes)
    with suppress(DoesNotOpenError):
        ledger.open()
        for first in range(0, 100_000, 100):
            run(ledger, 60, seed=first, first=first)
            if len(ledger.errors) >= 5:
                break
    failed = len(ledger.errors)
    for error in ledger.errors:
        assert isinstance(error, StoreFullError), f"a full device is called {error!r}"
    _resize(folder, 64 << 10)
    go_on(ledger)
    return failed


def _resize(folder: str, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", folder], check=True)


def _fill_up(ledger: Ledger, device: FullIO, steps: int) -> None:
    with suppress(DoesNotOpenError):
        run(ledger, steps)
    for error in ledger.errors:
        assert isinstance(error, StoreFullError), f"a full device is called {error!r}"


def go_on(ledger: Ledger) -> None:
    """There is space again: the same object writes on without an error, and so does the next one."""
    before = len(ledger.errors)
    if ledger.store is None:
        ledger.open()
    stream = standard_streams()[1]
    for number in range(20_000, 20_030):
        if isinstance(stream.operation(number), Append):
            ledger.step(stream.operation(number))
    ledger.step(lambda store: store.seal())
    ledger.step(lambda store: store.compact(full=True))
    ledger.compare("with space again")
    ledger.close()
    ledger.open()
    ledger.close()
    assert len(ledger.errors) == before, f"with space again: {ledger.errors[before:]}"
