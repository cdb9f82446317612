"""Means and their intervals, against values computed by hand and known coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from exatrkx_service.measure.estimate import half_width, plain_mean, ratio, trimmed_mean


def test_a_trimmed_mean_by_hand():
    """Of ten values the two smallest and the two largest are left out, and winsorised."""
    values = [100.0, 1, 2, 3, 4, 5, 6, 7, 8, -50]
    estimate = trimmed_mean(values)
    assert estimate.value == pytest.approx(np.mean([2, 3, 4, 5, 6, 7]))
    winsorised = [2, 2, 2, 3, 4, 5, 6, 7, 7, 7]
    error = np.std(winsorised, ddof=1) / (0.6 * math.sqrt(10))
    width = stats.t.ppf(0.975, 5) * error
    assert estimate[1:] == pytest.approx((4.5 - width, 4.5 + width))
    assert half_width(estimate) == pytest.approx(width)


def test_the_order_does_not_matter_nor_one_outlier():
    values = list(np.random.default_rng(3).normal(5, 1, 12))
    assert trimmed_mean(values[::-1]) == pytest.approx(trimmed_mean(values))
    values[values.index(max(values))] = 1e6
    assert trimmed_mean(values).value < 6
    assert plain_mean(values).value > 1000


@pytest.mark.parametrize("mean", [trimmed_mean, plain_mean])
def test_fewer_than_two_values_have_no_interval(mean):
    assert math.isnan(mean([]).value)
    value, low, high = mean([3.0])
    assert value == 3 and math.isnan(low) and math.isnan(high)
    assert math.isnan(half_width(mean([3.0])))


@pytest.mark.parametrize("mean", [trimmed_mean, plain_mean])
@pytest.mark.parametrize("n", [2, 7, 20])
def test_equal_values_have_an_interval_without_width(mean, n):
    assert mean([3.0] * n) == (3, 3, 3)


@pytest.mark.parametrize("mean", [trimmed_mean, plain_mean])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_covers_the_mean_about_as_often_as_it_says(mean, level):
    rng = np.random.default_rng(11)
    draws = rng.normal(0, 1, (600, 10))
    intervals = [mean(values, level) for values in draws]
    inside = np.mean([low <= 0 <= high for _, low, high in intervals])
    assert level - 0.06 < inside < level + 0.04


def test_the_plain_mean_has_students_interval():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert plain_mean(values, 0.9) == pytest.approx((4, expected.low, expected.high))


_SHARES = [0.03, 0.94, 0.03]
_HIT = 10  # standard deviations
NOISE = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_t(3, size=n),
    "hits": lambda rng, n: rng.normal(size=n) + rng.choice([-_HIT, 0, _HIT], n, p=_SHARES),
}


@pytest.mark.parametrize("n", [8, 10, 15, 40])
@pytest.mark.parametrize("noise", NOISE)
def test_the_trimmed_interval_holds_the_true_value_as_often_as_it_says(noise, n):
    rng = np.random.default_rng(1)
    held = [e.low <= 0 <= e.high for e in (trimmed_mean(NOISE[noise](rng, n)) for _ in range(400))]
    assert np.mean(held) > 0.91


def test_a_ratio_is_that_of_the_means_and_a_common_factor_drops_out():
    rng = np.random.default_rng(2)
    speeds, costs = rng.uniform(1, 2, 12), rng.normal(5, 0.1, 12)
    estimate = ratio(costs * speeds, 20 * speeds)
    expected = trimmed_mean(costs * speeds).value / trimmed_mean(20 * speeds).value
    assert estimate.value == pytest.approx(expected)
    assert ratio(5 * speeds, 20 * speeds) == pytest.approx((0.25, 0.25, 0.25))
    # The cost itself is known much worse, for the machine was of another speed in each block.
    assert half_width(estimate) < 0.1 * half_width(trimmed_mean(costs * speeds)) / 20


@pytest.mark.parametrize("n", [8, 15, 40])
def test_the_interval_of_a_ratio_holds_the_true_one_about_as_often_as_it_says(n):
    rng = np.random.default_rng(5)
    held = []
    for _ in range(400):
        control = rng.normal(20, 2, n) * rng.uniform(1, 1.3, n)
        estimate = ratio(0.3 * control + rng.normal(0, 1, n), control)
        held.append(estimate.low <= 0.3 <= estimate.high)
    assert 0.91 < np.mean(held) < 0.99


def test_a_ratio_of_one_block_has_no_interval_and_of_nothing_no_value():
    assert ratio([1.0], [4.0]).value == 0.25 and math.isnan(ratio([1.0], [4.0]).low)
    assert math.isnan(ratio([], []).value) and math.isnan(ratio([1.0], [0.0]).value)
