from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.measure.load import CONTROL, OPTION
from exatrkx_service.measure.plan import block_size, blocks, turns


def sample(n_events):
    return {event: np.zeros((17 * event % 101, 3), np.float32) for event in range(n_events)}


@given(n_events=st.integers(1, 40), size=st.integers(1, 60), seed=st.integers(0, 9))
def test_the_blocks_of_a_pass_partition_the_events(n_events, size, seed):
    events = sample(n_events)
    first = next(blocks(events, size, np.random.default_rng(seed)))
    in_a_pass = max(1, n_events // size)
    some = list(islice(blocks(events, size, np.random.default_rng(seed)), 3 * in_a_pass))
    assert some[0] == first and all(len(block) >= min(size, len(block)) for block in some)
    sent = Counter(pair for block in some for pair in block)
    passes = -(-size // n_events) if in_a_pass == 1 else 1
    assert sent == {(event, number): 1 for event in events for number in range(3 * passes)}


@given(n_events=st.integers(1, 40), size=st.integers(1, 60))
def test_a_block_has_no_fewer_events_than_asked_for(n_events, size):
    block = next(blocks(sample(n_events), size, np.random.default_rng(0)))
    assert size <= len(block) < 2 * size + n_events


def test_blocks_are_alike_in_the_sizes_of_their_events():
    events = sample(100)
    means = [
        np.mean([len(events[event]) for event, _ in block])
        for block in islice(blocks(events, 20, np.random.default_rng(0)), 5)
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
    ("seconds", "n", "block_s", "concurrency", "size"),
    [(0.4, 10, 1, 1, 25), (100, 10, 1, 1, 1), (100, 10, 1, 8, 8), (0, 4, 1, 2, 4_000_000_000)],
)
def test_a_block_lasts_as_long_as_asked_and_keeps_all_clients_busy(
    seconds, n, block_s, concurrency, size
):
    assert block_size(seconds, n, block_s, concurrency) == size
