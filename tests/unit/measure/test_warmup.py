import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.measure import warmup
from exatrkx_service.measure.warmup import in_threads, is_warm, pick_events, sweep_until_warm


def test_the_events_span_the_sizes_and_the_largest_is_one_of_them():
    events = {i: np.zeros((i, 3)) for i in range(50)}
    assert list(pick_events(events, 3)) == [49, 25, 0]
    assert list(pick_events(events, 1)) == [49]
    assert list(pick_events({4: np.zeros((1, 3))}, 10)) == [4]


@pytest.mark.parametrize(
    ("seconds", "warm"),
    [
        ([], False),
        ([1], False),
        ([1, 1], True),
        ([6, 0.3], False),
        ([6, 0.3, 0.2], False),
        ([6, 0.3, 0.2, 0.19], True),
        ([0.2, 0.3], True),
    ],
)
def test_it_is_warm_when_a_sweep_gains_nothing(seconds, warm):
    assert is_warm(seconds) == warm


@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=warmup.MOST))
def test_a_sweep_far_slower_than_the_fastest_is_never_taken_for_a_trend(seconds):
    assert is_warm([*seconds, 2 * min(seconds)])


def test_it_ends_even_if_it_never_gets_warm():
    clock = iter(np.cumsum([x for n in range(100) for x in (0, 0.5**n)]))

    class Time:
        monotonic = staticmethod(lambda: next(clock))

    warmup.time, real = Time, warmup.time
    try:
        assert sweep_until_warm(lambda number: None) == warmup.MOST
    finally:
        warmup.time = real


def test_threads_run_at_the_same_time():
    barrier = threading.Barrier(4)
    in_threads(lambda number: barrier.wait(20), 4)
    assert not barrier.broken


def test_the_error_of_a_thread_is_raised():
    def fail(number):
        if number == 2:
            raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        in_threads(fail, 4)


def test_a_check_ends_the_waiting():
    forever = threading.Event()

    def check():
        raise RuntimeError("no sense")

    with pytest.raises(RuntimeError, match="no sense"):
        in_threads(lambda number: forever.wait(60), 2, check)
    forever.set()
