"""Random operations, reopening among them: every durable kind agrees with the dict after each."""

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from histories import DURABLE, START_S, behaviours, open_kind, same
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from seqvault.memory import MemoryStore
from seqvault.vault import SeqVault

# Nothing is killed here, so syncs need no disk; most of the time would be theirs.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
EVERYONE = np.arange(5)
TIMES = st.integers(START_S - 20, START_S + 600)


class AgainstDict(RuleBasedStateMachine):
    """A store and the oracle get the same writes; every read is compared."""

    kind = ""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="store-", dir=MEMORY))
        self.store = open_kind(self.kind, self.folder)
        self.oracle = MemoryStore()
        self.now_s = START_S

    @rule(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 40), late=st.booleans())
    def append(self, seed: int, rows: int, late: bool) -> None:
        rows_ = behaviours(seed, rows, users=4, span_s=30, at_s=START_S if late else self.now_s)
        self.now_s += 25
        self.store.append(*rows_)
        self.oracle.append(*rows_)

    @rule(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 300))
    def bulk_load(self, seed: int, rows: int) -> None:
        rows_ = behaviours(seed, rows, users=4, at_s=START_S)
        self.store.bulk_load(*rows_)
        self.oracle.bulk_load(*rows_)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_kind(self.kind, self.folder)

    @rule(compact=st.booleans())
    def seal(self, compact: bool) -> None:
        if isinstance(self.store, SeqVault):
            self.store.seal()
            if compact:
                self.store.compact()

    @rule(
        n=st.integers(0, 400),
        before_s=st.none() | TIMES | st.lists(TIMES, min_size=5, max_size=5),
        scenes=st.none() | st.lists(st.integers(0, 3), max_size=2),
        columns=st.none() | st.lists(st.sampled_from(["time_s", "item_id", "scene"]), min_size=1),
    )
    def read_last(self, n, before_s, scenes, columns) -> None:
        options = {"before_s": before_s, "scenes": scenes, "columns": columns}
        same(
            self.store.read_last(EVERYONE, n, **options),
            self.oracle.read_last(EVERYONE, n, **options),
        )

    @rule(start_s=TIMES, end_s=TIMES, scenes=st.none() | st.lists(st.integers(0, 3), max_size=2))
    def read_range(self, start_s: int, end_s: int, scenes: list[int] | None) -> None:
        same(
            self.store.read_range(EVERYONE, start_s, end_s, scenes=scenes),
            self.oracle.read_range(EVERYONE, start_s, end_s, scenes=scenes),
        )

    def teardown(self) -> None:
        if hasattr(self, "store"):
            same(self.store.read_last(EVERYONE, 10**9), self.oracle.read_last(EVERYONE, 10**9))
            self.store.close()
            shutil.rmtree(self.folder)


def run(kind: str, examples: int) -> None:
    machine = type("Machine", (AgainstDict,), {"kind": kind})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            suppress_health_check=checks,
            database=None,
        ),
    )


@pytest.mark.parametrize("kind", DURABLE)
def test_random_operations_agree_with_a_dict(kind: str) -> None:
    run(kind, 15 if kind.startswith("lastn") else 50)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DURABLE)
def test_many_random_operations_agree_with_a_dict(kind: str) -> None:
    run(kind, 500)
