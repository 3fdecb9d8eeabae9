"""What traffic and a deadline may do to waiting, on common draws."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_doubles import short_arm, synthetic_profile

from simulator.serving.pipeline import serve
from simulator.serving.service_times import ProfileServiceTimes

REQUESTS = 300
PROFILE = synthetic_profile()


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.05, 3.0), st.floats(0.05, 3.0))
def test_less_traffic_makes_no_request_wait_longer(seed: int, one: float, other: float) -> None:
    # First come first served, one by one: then it holds for each request, not for the mean alone.
    arm = short_arm(max_batch=1, policy="fifo")
    draw = np.random.default_rng(seed)
    gaps, available = draw.exponential(400e-6, REQUESTS), draw.integers(0, 500, REQUESTS)
    waits = []
    for load in sorted((one, other)):
        times = ProfileServiceTimes(PROFILE, arm, 16, seed, np.arange(REQUESTS, dtype=np.uint64))
        served = serve(np.cumsum(gaps) / load, available, arm, times, None)
        waits.append(served.latency_s)
    assert (waits[0] <= waits[1] + 1e-12).all()
