"""What is compared: SeqVault through its public call, RocksDB in its own process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from benchmarks.stores.harness.clock import Took, timed
from benchmarks.stores.harness.generator import Histories
from benchmarks.stores.harness.rocks import Rocks, digest
from seqvault import HistoryBatch
from seqvault.vault import SeqVault

ALL = 10**9
# Whom a read asks for in one call.
Users = tuple[int, ...]


class Engine(Protocol):
    """Anything that can be asked for users' newest n behaviours."""

    name: str

    def read(self, users: Users, n: int) -> Took:
        """One read, timed."""
        ...

    def check(self, users: Users, n: int) -> int | None:
        """The digest of one read's output; None where it returns none."""
        ...


@dataclass
class VaultEngine:
    """SeqVault as Python calls it: the whole call is charged, checks of its arguments included.

    Args:
        prepared: reads into memory that is kept, as RocksDB's readers do; or `read_last`, which makes new
            arrays for every answer.
    """

    name: str
    store: SeqVault
    columns: Sequence[str] | None = None
    prepared: bool = True
    _users: dict[Users, np.ndarray] = field(default_factory=dict)
    _reads: dict[int, Callable[[np.ndarray], HistoryBatch]] = field(default_factory=dict)

    def read(self, users: Users, n: int) -> Took:
        """See Engine.read."""
        asked, read = self._asked(users), self._read(n)
        return timed(lambda: len(read(asked).columns["time_s"]))

    def _read(self, n: int) -> Callable[[np.ndarray], HistoryBatch]:
        if n not in self._reads:
            if self.prepared:
                self._reads[n] = self.store.prepare_last(n, columns=self.columns)
            else:
                self._reads[n] = partial(self.store.read_last, n=n, columns=self.columns)
        return self._reads[n]

    def check(self, users: Users, n: int) -> int | None:
        """See Engine.check."""
        if self.columns is not None:
            return None
        return digest(self._read(n)(self._asked(users)).columns)

    def _asked(self, users: Users) -> np.ndarray:
        # Made once: the caller's array is no part of the read.
        return self._users.setdefault(users, np.array(users, "u8"))


@dataclass
class RocksEngine:
    """One open database of the rival."""

    name: str
    rocks: Rocks
    handle: int

    def read(self, users: Users, n: int) -> Took:
        """See Engine.read."""
        return Took(*self.rocks.read(self.handle, users, n))

    def check(self, users: Users, n: int) -> int | None:
        """See Engine.check."""
        return self.rocks.check(self.handle, users, n)


class WrongOutputError(RuntimeError):
    """An engine returned other behaviours than were stored: its times mean nothing."""


def verify(engines: Sequence[Engine], histories: Histories, requests: Sequence[tuple[Users, int]]) -> int:
    """Compare outputs with the source; the number compared. Raises WrongOutputError.

    Of several users the output is their rows, one user behind the other.
    """
    place = {int(user): i for i, user in enumerate(histories.users)}
    compared = 0
    for users, n in requests:
        parts = [histories.newest(place[user], n) for user in users]
        expected = digest({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        for engine in engines:
            found = engine.check(users, n)
            compared += found is not None
            if found is not None and found != expected:
                raise WrongOutputError(
                    f"{engine.name}: the newest {n} behaviours of {users} differ from what was stored"
                )
    return compared


def interleaved(
    engines: Mapping[int, Sequence[Engine]], requests: Sequence[tuple[Users, int]], rng: np.random.Generator
) -> dict[tuple[str, int], list[Took]]:
    """Every request to every engine of its n, in an order drawn anew for each request."""
    took: dict[tuple[str, int], list[Took]] = {}
    for users, n in requests:
        asked = engines[n]
        for i in rng.permutation(len(asked)):
            took.setdefault((asked[i].name, n), []).append(asked[i].read(users, n))
    return took


def draw_requests(
    histories: Histories, n: int, count: int, rng: np.random.Generator, users: int = 1
) -> list[tuple[Users, int]]:
    """Users drawn by length, so many a read: the active ones ask most."""
    drawn = rng.choice(histories.users, (count, users), p=histories.lengths / histories.rows).tolist()
    return [(tuple(asked), n) for asked in drawn]
