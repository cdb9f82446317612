from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.measure.load import CONTROL, OPTION
from exatrkx_service.measure.plan import block_size, blocks, least_events, turns


def sample(n_events):
    return {event: np.zeros((17 * event % 101, 3), np.float32) for event in range(n_events)}


some_blocks = given(n_events=st.integers(1, 40), size=st.integers(1, 60), least=st.integers(1, 9))


@some_blocks
def test_every_event_is_sent_once_in_each_pass(n_events, size, least):
    events = sample(n_events)
    sent = Counter()
    for number, block in enumerate(blocks(events, size, least, np.random.default_rng(0)), 1):
        sent.update(block)
        passes, rest = divmod(sent.total(), n_events)
        if number >= 3 and not rest:
            break
    assert sent == {(event, number): 1 for event in events for number in range(passes)}


@some_blocks
def test_blocks_are_about_as_large_as_asked_for_and_keep_all_clients_busy(n_events, size, least):
    for block in islice(blocks(sample(n_events), size, least, np.random.default_rng(0)), 5):
        assert len(block) >= least
        assert size / 2 - 1 <= len(block) <= max(2 * size, 2 * least, least + n_events)


@pytest.mark.parametrize(
    ("concurrency", "affordable", "least"),
    [(1, 100, 1), (2, 100, 6), (8, 100, 24), (8, 20.9, 20), (8, 0.3, 8)],
)
def test_a_block_has_three_events_of_each_client_if_the_time_allows(concurrency, affordable, least):
    assert least_events(concurrency, affordable) == least


def test_blocks_are_alike_in_the_sizes_of_their_events():
    events = sample(100)
    means = [
        np.mean([len(events[event]) for event, _ in block])
        for block in islice(blocks(events, 20, 1, np.random.default_rng(0)), 5)
    ]
    everything = [len(points) for points in events.values()]
    assert np.std(means) < 0.35 * np.std(everything) / np.sqrt(20)


def test_one_client_sends_each_event_to_both_arms_in_a_row():
    block = [(5, 0), (7, 0), (5, 1)] * 20
    ((arm, items),) = turns(block, 1, np.random.default_rng(0))
    assert arm == "" and [(i.event, i.repetition) for i in items[::2]] == block
    orders = Counter((a.arm, b.arm) for a, b in zip(items[::2], items[1::2], strict=True))
    assert set(orders) == {(OPTION, CONTROL), (CONTROL, OPTION)}
    assert min(orders.values()) > 10


def test_more_clients_send_a_block_by_one_arm_after_the_other():
    rng = np.random.default_rng(0)
    block = [(5, 0), (7, 0)]
    orders = Counter()
    for _ in range(50):
        (first, items), (second, others) = turns(block, 4, rng)
        orders[first, second] += 1
        assert [item[1:] for item in items] == block == [item[1:] for item in others]
        assert {item.arm for item in items} == {first} and {i.arm for i in others} == {second}
    assert min(orders[OPTION, CONTROL], orders[CONTROL, OPTION]) > 10


@pytest.mark.parametrize(
    ("seconds_per_event", "block_s", "size"),
    [(0.04, 1, 25), (0.04, 0.1, 2), (10, 1, 1), (0, 1, 1_000_000_000)],
)
def test_a_block_lasts_as_long_as_asked(seconds_per_event, block_s, size):
    assert block_size(seconds_per_event, block_s) == size
