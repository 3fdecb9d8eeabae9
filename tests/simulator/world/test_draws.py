import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simulator.draws import bits, normal, uniform

N = 200_000
IDS = np.arange(N)
GOLDEN = [0.28539076599043034, 0.017639087480920912, 0.8270621343877197]


def test_uniform_draws_are_uniform() -> None:
    assert stats.kstest(uniform(7, "click", IDS), "uniform").pvalue > 1e-3


def test_uniform_lies_in_the_half_open_unit_interval() -> None:
    u = uniform(7, "click", IDS)
    assert u.min() >= 0.0
    assert u.max() < 1.0


def test_normal_draws_are_standard_normal() -> None:
    assert stats.kstest(normal(7, "quality", IDS), "norm").pvalue > 1e-3


@pytest.mark.parametrize("other", [uniform(8, "click", IDS), uniform(7, "conversion", IDS),
                                   uniform(7, "click", IDS, 0), uniform(7, "click", IDS + 1)])  # fmt: skip
def test_another_key_is_an_independent_stream(other: np.ndarray) -> None:
    mine = uniform(7, "click", IDS)
    assert abs(np.corrcoef(mine, other)[0, 1]) < 5 / np.sqrt(N)
    assert not np.array_equal(mine, other)


def test_every_bit_of_the_hash_is_balanced() -> None:
    words = bits(7, "click", IDS)
    share = [((words >> np.uint64(b)) & np.uint64(1)).mean() for b in range(64)]
    assert np.abs(np.array(share) - 0.5).max() < 5 * 0.5 / np.sqrt(N)


@given(seed=st.integers(-(2**40), 2**40), a=st.integers(0, 2**63 - 1), b=st.integers(0, 2**31))
def test_a_draw_depends_on_its_key_alone(seed: int, a: int, b: int) -> None:
    alone = uniform(seed, "x", a, b)
    among = uniform(seed, "x", np.array([5, a, 9]), np.array([b]))[1]
    assert float(alone) == float(among)


def test_ids_are_ordered_parts_of_the_key() -> None:
    assert float(uniform(1, "x", 2, 3)) != float(uniform(1, "x", 3, 2))


def test_ids_broadcast() -> None:
    grid = uniform(1, "x", np.arange(4)[:, None], np.arange(3))
    assert grid.shape == (4, 3)
    assert grid[2, 1] == uniform(1, "x", 2, 1)


def test_dtype_of_an_id_does_not_matter() -> None:
    assert float(uniform(1, "x", np.uint8(7))) == float(uniform(1, "x", np.int64(7)))


def test_fractional_ids_are_refused() -> None:
    with pytest.raises(TypeError, match="expected integers"):
        uniform(1, "x", np.array([0.5]))


def test_draws_of_the_first_release_are_kept() -> None:
    # A changed hash would silently change every published run.
    assert uniform(7, "click", np.arange(3), 5).tolist() == GOLDEN
