import math

import numpy as np
import pytest
from scipy import stats

from exatrkx_service.measure.estimate import trimmed_mean


def test_one_value_has_no_interval_and_none_no_mean():
    assert trimmed_mean([3]).value == 3 and math.isnan(trimmed_mean([3]).half_width)
    assert math.isnan(trimmed_mean([]).value)


def test_a_block_that_was_hit_does_not_move_it():
    calm = trimmed_mean([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    hit = trimmed_mean([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000])
    assert hit == calm and calm.value == 5.5


def test_untrimmed_it_is_students_interval():
    values = [1, 2, 3, 4, 100]
    low, high = stats.t.interval(0.9, 4, np.mean(values), stats.sem(values))
    assert trimmed_mean(values, 0.9, trimmed=0) == pytest.approx((22, low, high))


def test_values_that_agree_have_an_interval_of_no_width():
    assert trimmed_mean([2.0, 2.0, 2.0]) == (2, 2, 2)


NOISE = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails": lambda rng, n: rng.standard_t(3, size=n),
    "hits": lambda rng, n: (
        rng.normal(size=n) + 10 * (rng.random(n) < 0.05) * rng.choice([-1, 1], n)
    ),
}


@pytest.mark.parametrize("n", [8, 10, 15, 40])
@pytest.mark.parametrize("noise", NOISE)
def test_the_interval_holds_the_true_value_as_often_as_it_says(noise, n):
    rng = np.random.default_rng(1)
    held = [e.low <= 0 <= e.high for e in (trimmed_mean(NOISE[noise](rng, n)) for _ in range(400))]
    assert np.mean(held) > 0.91
