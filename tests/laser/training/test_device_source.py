"""Examples that live on the device give the batches of those on the host."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ranking_batches import config
from test_model_training import weights

from laser.batch import RankingBatch
from laser.examples import ExampleSet
from laser.sources import DeviceSource, HostSource
from laser.training.loop import TrainConfig, train

Worlds = tuple[ExampleSet, ExampleSet]
CPU = torch.device("cpu")


def with_gaps(examples: ExampleSet) -> ExampleSet:
    """Some candidates missing, some histories short or empty, times a fraction of a second apart."""
    draws = np.random.default_rng(4)
    ad = examples.ad.copy()
    ad[::3, 5:] = -1
    start = np.maximum(examples.history_start, examples.history_end - draws.integers(0, 90, len(ad)))
    seconds = examples.request_time_s + draws.random(len(ad))
    return ExampleSet(**{**vars(examples), "ad": ad, "history_start": start, "request_time_s": seconds})


def assert_same(one: RankingBatch, other: RankingBatch) -> None:
    for name, value in vars(one).items():
        found = getattr(other, name)
        if isinstance(value, torch.Tensor):
            assert value.dtype is found.dtype, name
            assert torch.equal(value, found), name
        else:
            assert value == found, name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(st.lists(st.integers(0, 199), max_size=12), st.integers(0, 100))
def test_batches_gathered_on_the_device_are_the_hosts_bit_for_bit(
    small_world: Worlds, rows: list[int], length: int
) -> None:
    examples = with_gaps(small_world[0].take(np.arange(200)))
    chosen = np.array(rows, np.int64)
    host, device = HostSource(examples, CPU), DeviceSource(examples, CPU)
    assert_same(host.batch(chosen, length), device.batch(chosen, length))
    assert torch.equal(host.clicks(chosen), device.clicks(chosen))


def test_a_training_on_resident_examples_gives_the_same_weights(small_world: Worlds) -> None:
    examples = with_gaps(small_world[0].take(np.arange(200)))
    one, other = (
        weights(train(config("laser"), TrainConfig(60, batch=32, resident=resident), examples, seed=1))
        for resident in (True, False)
    )
    assert torch.equal(one, other)
    source = DeviceSource(examples, CPU)
    for _ in range(2):  # one source serves several trainings
        assert torch.equal(weights(train(config("laser"), TrainConfig(60, batch=32), source, seed=1)), one)


def test_columns_that_do_not_fit_one_integer_are_refused(small_world: Worlds) -> None:
    wide = ExampleSet(**{**vars(small_world[0]), "dwell_s": small_world[0].dwell_s.astype(np.int64) << 60})
    with pytest.raises(ValueError, match=r"dwell_s does not fit the .* bits left"):
        DeviceSource(wide, CPU)


def test_a_request_without_a_finite_hour_is_refused(small_world: Worlds) -> None:
    hour = small_world[0].hour.copy()
    hour[3] = np.nan
    with pytest.raises(ValueError, match="hour holds a value that is not finite"):
        DeviceSource(ExampleSet(**{**vars(small_world[0]), "hour": hour}), CPU)
    with pytest.raises(ValueError, match="length is -1"):
        DeviceSource(small_world[0], CPU).batch(np.arange(2), -1)
