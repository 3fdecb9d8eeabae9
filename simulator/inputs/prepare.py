"""What every arm, worker and sweep cell of an experiment starts from: the world and what its log teaches.

`prepare(source)` is a function of the world's source alone, so experiments in equal worlds share it, and a
process that has none builds its own, unless another has shared its copy with it (`shared.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laser.examples import ExampleSet
from simulator.inputs.truth import Truth
from simulator.inputs.worlds import WorldSource, make_world
from simulator.scratch import let_go, mapped
from simulator.traffic.examples import history_slices, log_examples
from simulator.traffic.priors import item_ctr, item_cvr, top_slot_factor
from simulator.traffic.trace import PRE, Requests
from simulator.world.protocol import ExperimentWorld

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """The inputs of an experiment. R requests, C candidates, A ads.

    Attributes:
        source: what all of it depends on.
        world: the truth, generated or fitted on a log.
        requests: the trace that is replayed, pre-period first.
        examples: the log's training and held-out examples by split.
        prior_ctr: (A,) smoothed CTR of the training log, at the top slot; the prior order, and its pCTR.
        pcvr: (A,) smoothed P(conversion | click) of the training log, shared by the arms.
        readable_before_s: (R,) i8; a request may see behaviours with time_s below it.
        history_available: (R,) i8, how many those are.
    """

    source: WorldSource
    world: ExperimentWorld
    requests: Requests
    examples: dict[str, ExampleSet]
    prior_ctr: F8
    pcvr: F8
    readable_before_s: I8
    history_available: I8

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what models learn from and score: the log, requests, and what these may read."""
        return _digest(self.log_digest, self.requests, self)

    @cached_property
    def log_digest(self) -> str:
        """SHA-256 of what models learn from alone: behaviours, log, catalogue, and the delay of reading."""
        world = self.world
        return _digest(repr(self.source.ingest_delay_s), world.behaviours, world.log, world.catalogue)

    @cached_property
    def truth(self) -> Truth:
        """How every candidate of the trace would be answered."""
        return Truth(self.world, self.requests)

    def let_go(self) -> None:
        """Give the memory back that what lies in files takes once it was looked at."""
        held = (self.requests, self.world.log, self.world.behaviours, self)
        let_go(*(column for part in held for column in vars(part).values() if isinstance(column, np.ndarray)))

    def __getstate__(self) -> dict[str, Any]:
        # The truth's blocks are kept for this process's threads.
        return {name: value for name, value in vars(self).items() if name != "truth"}

    @property
    def in_experiment(self) -> NDArray[np.bool_]:
        """(R,) whether the request belongs to the experiment (else to the pre-period)."""
        inside: NDArray[np.bool_] = self.requests.period != PRE
        return inside


_MOST = 2  # worlds that a process keeps
_AT_ONCE = 1 << 22  # elements of an array that a digest looks at together
_kept: dict[WorldSource, Prepared] = {}


def prepare(source: WorldSource, jobs: int = 1) -> Prepared:
    """The world and everything fitted on its log: built once, and kept by this process.

    Args:
        jobs: processes that a large world is built by; it is the same for any number.

    Raises:
        ValueError: the world cannot be built.
    """
    if source not in _kept:
        keep(source, _made(source, jobs))
    return _kept[source]


def keep(source: WorldSource, prepared: Prepared) -> None:
    """Let `prepare` find it, in place of what was built of this source before."""
    _kept.pop(source, None)
    while len(_kept) >= _MOST:
        del _kept[next(iter(_kept))]
    _kept[source] = prepared


def forget() -> None:
    """Keep none."""
    _kept.clear()


def _made(source: WorldSource, jobs: int) -> Prepared:
    world = make_world(source, jobs)
    delay_s = source.ingest_delay_s
    requests = world.requests
    ads = world.sizes.ads
    start, end = history_slices(world.behaviours, requests.user_id, requests.arrival_s, delay_s)
    # time_s is whole seconds, so "time_s < arrival - delay" is "time_s < ceil(arrival - delay)".
    readable_s = np.ceil(requests.arrival_s - delay_s).astype(np.int64)
    of_requests = mapped({"readable_before_s": readable_s, "history_available": end - start})
    del start, end, readable_s
    examples = {split: _examples(world, split, delay_s) for split in ("train", "holdout")}
    made = Prepared(
        source=source,
        world=world,
        requests=requests,
        examples=examples,
        prior_ctr=np.minimum(item_ctr(world.log, ads) * top_slot_factor(world.log), 1.0),
        pcvr=item_cvr(world.log, ads),
        **of_requests,
    )
    made.let_go()
    return made


def _digest(first: str, *parts: object) -> str:
    """SHA-256 of a text and of all arrays of some parts."""
    sha = hashlib.sha256(first.encode())
    for part in parts:
        for name, value in vars(part).items():
            if isinstance(value, np.ndarray):
                sha.update(f"{name} {value.dtype.str} {value.shape}".encode())
                flat = np.ascontiguousarray(value).reshape(-1)
                for start in range(0, len(flat), _AT_ONCE):
                    sha.update(flat[start : start + _AT_ONCE].data)
                    let_go(value)
    return sha.hexdigest()


def _examples(world: ExperimentWorld, split: str, delay_s: float) -> ExampleSet:
    arrays = vars(log_examples(world.behaviours, world.log, split, ingest_delay_s=delay_s))
    there = {name: array for name, array in arrays.items() if array is not None}
    return ExampleSet(**arrays | mapped(there))
