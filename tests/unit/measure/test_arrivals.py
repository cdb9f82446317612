import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, kstest

from exatrkx_service.measure.arrivals import (
    OVER,
    UNDECIDED,
    UNDER,
    arrival_times,
    queries_needed,
    verdict,
)


@pytest.mark.parametrize(
    ("n_over", "quantile", "expected"), [(0, 0.99, 459), (1, 0.99, 662), (0, 0.9, 44), (0, 0.5, 7)]
)
def test_as_many_requests_as_loadgen_asks_for(n_over, quantile, expected):
    assert queries_needed(n_over, quantile) == expected


@given(n_over=st.integers(0, 30), quantile=st.floats(0.5, 0.999))
def test_one_request_less_would_not_do(n_over, quantile):
    n = queries_needed(n_over, quantile)
    assert verdict(n, n_over, quantile) == UNDER
    assert verdict(n - 1, n_over, quantile) != UNDER


def test_few_requests_over_the_limit_can_be_enough_to_tell():
    assert verdict(100, 6, 0.99) == OVER
    assert verdict(100, 0, 0.99) == verdict(100, 4, 0.99) == UNDECIDED
    assert verdict(0, 0, 0.99) == UNDECIDED


@pytest.mark.parametrize("n", [459, 662, 2000])
def test_a_wrong_answer_is_as_rare_as_was_asked(n):
    """A share over the limit of just 1 %: it is neither over nor under."""
    counts = np.arange(n + 1)
    chances = binom.pmf(counts, n, 0.01)
    for wrong in (UNDER, OVER):
        told = [verdict(n, k, 0.99) == wrong for k in counts]
        assert chances[told].sum() <= 0.01


def test_arrivals_are_those_of_a_poisson_process():
    times_s = arrival_times(50, 5000, seed=1) / 1e9
    gaps = np.diff(times_s)
    assert kstest(gaps, "expon", args=(0, 1 / 50)).pvalue > 0.01
    counts = np.bincount(times_s.astype(int))[:-1]
    assert counts.mean() == pytest.approx(50, rel=0.05)
    assert counts.var() == pytest.approx(50, rel=0.4)  # a clock would have none


def test_the_pattern_is_the_same_at_every_rate():
    slow, fast = arrival_times(10, 100, seed=3), arrival_times(40, 100, seed=3)
    np.testing.assert_allclose(slow, 4 * fast, atol=4)
    assert (arrival_times(10, 100, seed=4) != slow).all()
    assert slow.dtype == np.int64
