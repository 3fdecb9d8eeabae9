"""Several treatments: against SciPy's Dunnett and statsmodels' Holm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from simulator.analysis.columns import AnalysisError
from simulator.analysis.several import dunnett_factor, dunnett_p, holm


def test_holm_is_statsmodels():
    p = np.random.default_rng(0).random(9) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_dunnetts_p_values_are_scipys():
    rng = np.random.default_rng(1)
    control, *others = (rng.normal(mean, 1, 30) for mean in (0, 0.5, 0.2, -0.3))
    theirs = stats.dunnett(*others, control=control, rng=np.random.default_rng(2))
    ours = dunnett_p([float(s) for s in theirs.statistic], [0.5] * 3, [4 * 29] * 3)
    np.testing.assert_allclose(ours, theirs.pvalue, atol=2e-3)


@pytest.mark.parametrize(("treatments", "df", "published"), [(2, 20, 2.38), (3, 20, 2.54), (3, 1e6, 2.35)])
def test_factors_are_the_published_ones(treatments, df, published):
    assert dunnett_factor([0.5] * treatments, [df] * treatments) == pytest.approx(published, abs=0.006)


def test_one_treatment_needs_no_correction():
    assert dunnett_factor([0.5], [50]) == pytest.approx(stats.t.ppf(0.975, 50))


def test_factors_lie_between_one_test_and_bonferroni_and_fit_the_p_values():
    shares, df = [0.2, 0.5, 0.7], [300, 400, 500]
    c = dunnett_factor(shares, df)
    assert stats.t.ppf(0.975, 300) < c < stats.t.ppf(1 - 0.025 / 3, 300)
    assert dunnett_p([c], shares, df)[0] == pytest.approx(0.05, abs=1e-6)


def test_wrong_shares_are_refused():
    with pytest.raises(AnalysisError, match="in \\[0, 1\\]"):
        dunnett_factor([1.2], [10])
