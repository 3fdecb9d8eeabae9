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


class Engine(Protocol):
    """Anything that can be asked for a user's newest n behaviours."""

    name: str

    def read(self, user: int, n: int) -> Took:
        """One read, timed."""
        ...

    def check(self, user: int, n: int) -> int | None:
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
    _users: dict[int, np.ndarray] = field(default_factory=dict)
    _reads: dict[int, Callable[[np.ndarray], HistoryBatch]] = field(default_factory=dict)

    def read(self, user: int, n: int) -> Took:
        """See Engine.read."""
        asked, read = self._asked(user), self._read(n)
        return timed(lambda: len(read(asked).columns["time_s"]))

    def _read(self, n: int) -> Callable[[np.ndarray], HistoryBatch]:
        if n not in self._reads:
            if self.prepared:
                self._reads[n] = self.store.prepare_last(n, columns=self.columns)
            else:
                self._reads[n] = partial(self.store.read_last, n=n, columns=self.columns)
        return self._reads[n]

    def check(self, user: int, n: int) -> int | None:
        """See Engine.check."""
        if self.columns is not None:
            return None
        return digest(self._read(n)(self._asked(user)).columns)

    def _asked(self, user: int) -> np.ndarray:
        # Made once: the caller's array is no part of the read.
        return self._users.setdefault(user, np.array([user], "u8"))


@dataclass
class RocksEngine:
    """One open database of the rival."""

    name: str
    rocks: Rocks
    handle: int

    def read(self, user: int, n: int) -> Took:
        """See Engine.read."""
        return Took(*self.rocks.read(self.handle, user, n))

    def check(self, user: int, n: int) -> int | None:
        """See Engine.check."""
        return self.rocks.check(self.handle, user, n)


class WrongOutputError(RuntimeError):
    """An engine returned other behaviours than were stored: its times mean nothing."""


def verify(engines: Sequence[Engine], histories: Histories, requests: Sequence[tuple[int, int]]) -> int:
    """Compare outputs with the source; the number compared. Raises WrongOutputError."""
    place = {int(user): i for i, user in enumerate(histories.users)}
    compared = 0
    for user, n in requests:
        expected = digest(histories.newest(place[user], n))
        for engine in engines:
            found = engine.check(user, n)
            compared += found is not None
            if found is not None and found != expected:
                raise WrongOutputError(
                    f"{engine.name}: the newest {n} behaviours of user {user} differ from what was stored"
                )
    return compared


def interleaved(
    engines: Mapping[int, Sequence[Engine]], requests: Sequence[tuple[int, int]], rng: np.random.Generator
) -> dict[tuple[str, int], list[Took]]:
    """Every request to every engine of its n, in an order drawn anew for each request."""
    took: dict[tuple[str, int], list[Took]] = {}
    for user, n in requests:
        asked = engines[n]
        for i in rng.permutation(len(asked)):
            took.setdefault((asked[i].name, n), []).append(asked[i].read(user, n))
    return took


def draw_requests(
    histories: Histories, n: int, count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Users drawn by length: the active ones ask most."""
    users = rng.choice(histories.users, count, p=histories.lengths / histories.rows)
    return [(int(user), n) for user in users]
