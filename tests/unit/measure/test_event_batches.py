"""Batches of events: what goes together, what they must give, and the control beside them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.analysis.batches import with_batches
from exatrkx_service.measure.batches import OneByOne, batched, members, reference_of_batches
from exatrkx_service.measure.load import hash_answer, hash_labels, hash_of_events
from exatrkx_service.options import Option, batches
from exatrkx_service.pipeline.stopwatch import Stopwatch

LABELS = st.lists(st.lists(st.integers(-1, 4), max_size=6), min_size=1, max_size=5)


def points(n):
    return np.full((n, 3), n, np.float32)


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=30), batch=st.integers(1, 12))
def test_each_event_is_in_a_batch_and_each_batch_is_full(sizes, batch):
    found = members(dict(enumerate(sizes)), batch)
    assert {event for inside in found.values() for event in inside} == set(range(len(sizes)))
    assert {len(inside) for inside in found.values()} == {batch}
    assert len(found) == -(-len(sizes) // batch)
    assert all(number < 0 for number in found)
    # Of two sizes no two batches have the same number, so they can stand in one table.
    assert not found.keys() & members(dict(enumerate(sizes)), batch + 1).keys()


def test_small_and_large_events_are_in_each_batch():
    events = {event: points(n) for event, n in enumerate((1, 2, 3, 40, 50, 60))}
    sizes = {tuple(sorted(batch.event_sizes)) for batch in batched(events, 2).values()}
    assert sizes == {(1, 40), (2, 50), (3, 60)}


@given(LABELS)
def test_the_hash_of_a_batch_is_that_of_its_events(events):
    """... whatever the labels are called, as long as no track has points of two events."""
    sizes = np.array([len(labels) for labels in events])
    own = [np.array(labels, dtype=np.int64) for labels in events]
    apart = [np.where(x < 0, -1, x + 10 * i) for i, x in enumerate(own)]
    expected = hash_of_events(hash_labels(labels) for labels in own)
    assert hash_labels(np.concatenate(apart), sizes) == expected


@pytest.mark.parametrize(
    "labels",
    [
        [0, 0, -1, 0, 3, 3],  # a track of the first event goes on in the second
        [0, 0, 2, 2, 4, 4],  # a track of one point in each
        [0, 0, 2, 3, 3, 3],
    ],
)
def test_a_track_through_two_events_is_another_answer(labels):
    sizes = np.array([3, 3])
    right = np.array([0, 0, -1, -1, 3, 3])
    assert hash_labels(np.array(labels), sizes) != hash_labels(right, sizes)


def test_the_reference_of_a_batch_is_made_of_its_events():
    reference = pd.DataFrame(
        {
            "event": [7, 3],
            "n_space_points": [10, 20],
            "n_edges_built": [100, 200],
            "n_edges_filtered": [50, 60],
            "n_tracks": [1, 0],
            "labels_sha256": ["a", "b"],
        }
    )
    (row,) = reference_of_batches(reference, 2).to_dict("records")
    assert row == {
        "event": next(iter(members({7: 10, 3: 20}, 2))),
        "n_space_points": 30,
        "n_edges_built": 300,
        "n_edges_filtered": 110,
        "n_tracks": 1,
        "labels_sha256": hash_of_events(["a", "b"]),
    }
    found = with_batches(reference, {"S0_batch1": {"batch": 1}, "S0_batch2": {"batch": 2}})
    assert found.event.tolist() == [7, 3, row["event"]]
    assert found.dtypes.equals(reference.dtypes)


def test_the_control_has_the_events_of_a_batch_one_by_one():
    sent = []

    def pipeline(event, watch, request_id):
        sent.append(len(event))
        watch.lap("embedding", "compute")
        labels = np.zeros(len(event), np.int64)
        labels[:1] = -1
        return {"labels": labels}

    (batch,) = batched({0: points(3), 1: points(4)}, 2).values()
    watch = Stopwatch()
    labels = OneByOne(pipeline)(batch, watch)["labels"]
    assert sent == [3, 4] and len(watch.laps) == 2
    assert labels.tolist() == [-1, 0, 0, -1, 3, 3, 3]
    alone = [hash_labels(np.array([-1, *[0] * (n - 1)])) for n in (3, 4)]
    assert hash_answer(batch, labels) == hash_of_events(alone)


def test_options_have_a_name_for_each_number_of_events():
    options = batches({"S5": {"serve": "fused", "server": {"instances": 2}}}, ["S5"], [1, 4])
    assert options["S5_batch4"] == {"serve": "fused", "server": {"instances": 2}, "batch": 4}
    assert [Option.from_config(n, o).batch for n, o in options.items()] == [1, 4]
