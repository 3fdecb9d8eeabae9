"""What every arm, worker and sweep cell of an experiment starts from: the world and what its log teaches.

`prepare(source)` is a function of the world's source alone, so a worker process builds its own copy instead
of being sent one, and experiments in equal worlds share it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from laser.examples import ExampleSet
from simulator.inputs.truth import Truth
from simulator.inputs.worlds import WorldSource, make_world
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

    @property
    def in_experiment(self) -> NDArray[np.bool_]:
        """(R,) whether the request belongs to the experiment (else to the pre-period)."""
        inside: NDArray[np.bool_] = self.requests.period != PRE
        return inside


@lru_cache(maxsize=2)
def prepare(source: WorldSource) -> Prepared:
    """Build the world and everything fitted on its log; cached per process.

    Raises:
        ValueError: the world cannot be built.
    """
    world = make_world(source)
    delay_s = source.ingest_delay_s
    requests = world.requests
    ads = world.sizes.ads
    start, end = history_slices(world.behaviours, requests.user_id, requests.arrival_s, delay_s)
    return Prepared(
        source=source,
        world=world,
        requests=requests,
        examples={split: _examples(world, split, delay_s) for split in ("train", "holdout")},
        prior_ctr=np.minimum(item_ctr(world.log, ads) * top_slot_factor(world.log), 1.0),
        pcvr=item_cvr(world.log, ads),
        # time_s is whole seconds, so "time_s < arrival - delay" is "time_s < ceil(arrival - delay)".
        readable_before_s=np.ceil(requests.arrival_s - delay_s).astype(np.int64),
        history_available=end - start,
    )


def _digest(first: str, *parts: object) -> str:
    """SHA-256 of a text and of all arrays of some parts."""
    sha = hashlib.sha256(first.encode())
    for part in parts:
        for name, value in vars(part).items():
            if isinstance(value, np.ndarray):
                sha.update(f"{name} {value.dtype.str} {value.shape}".encode())
                sha.update(np.ascontiguousarray(value).data)
    return sha.hexdigest()


def _examples(world: ExperimentWorld, split: str, delay_s: float) -> ExampleSet:
    return ExampleSet(**vars(log_examples(world.behaviours, world.log, split, ingest_delay_s=delay_s)))
