"""Edge efficiency and purity on events small enough to count by hand."""

import numpy as np
import pytest
from hand_made import make_event, make_particles

from exatrkx_service.events.event import Event
from exatrkx_service.models.data import to_training_event
from exatrkx_service.tracking import found_edges


def counts(event, edges, filtered, scores, cut=0.5):
    tensors = {
        "edges": np.array(edges, np.int32).reshape(2, -1),
        "filtered_edges": np.array(filtered, np.int32).reshape(2, -1),
        "edge_scores": np.array(scores, np.float32),
    }
    table = found_edges(event, tensors, cut)
    assert (table.event == event.event_id).all()
    numbers = table.set_index(["stage", "population"])[["n_found", "n_true", "n_edges"]]
    return {index: tuple(row) for index, row in zip(numbers.index, numbers.to_numpy(), strict=True)}


def test_true_edges_follow_the_flight_from_the_production_vertex():
    # particle 0 comes from the beam line, particle 1 from r = 300 mm and flies inwards.
    r = [100.0, 30.0, 70.0, 30.0, 250.0, 110.0, 50.0]
    points = np.column_stack([r, np.zeros(7), np.full(7, 5.0)]).astype(np.float32)
    particles = make_particles(vr=[0.0, 300.0], vz=[0.0, 5.0], from_hnl=[False, True])
    event = Event(0, points, np.array([0, 0, 0, 1, 1, 1, -1]), particles)
    truth = to_training_event(event)
    assert sorted(zip(*truth.truth_edges.tolist(), strict=True)) == [(1, 2), (2, 0), (4, 5), (5, 3)]
    assert truth.from_hnl.tolist() == [False] * 3 + [True] * 3 + [False]


def test_each_stage_counts_the_true_edges_it_keeps():
    # Two particles of three points: 0-1-2, and 3-4-5 of the HNL, which is too soft for A and B.
    event = make_event(3, (3, 3), from_hnl=[False, True], pt=[2.0, 0.4])
    found = counts(
        event,
        edges=[[0, 1, 3, 4, 0], [1, 2, 4, 5, 3]],
        filtered=[[0, 1, 3, 0], [1, 2, 4, 3]],
        scores=[0.9, 0.5, 0.4, 0.8],
    )
    assert found["building", "all"] == (4, 4, 5)
    assert found["filtering", "all"] == (3, 4, 4)
    assert found["gnn", "all"] == (2, 4, 3)  # a score equal to the cut is kept
    assert found["building", "all_hnl"] == (2, 2, 5)
    assert found["filtering", "all_hnl"] == (1, 2, 4)
    assert found["gnn", "all_hnl"] == (0, 2, 3)
    assert found["filtering", "A"] == (2, 2, 4)
    assert found["filtering", "A_hnl"] == (0, 0, 4)
    assert found["filtering", "B"] == (0, 0, 4)  # three points are too few


def test_the_direction_of_an_edge_and_a_repetition_do_not_count():
    event = make_event(0, (3, 2))
    # 0-1 in both directions; 2-0 skips a point; 3-0 joins two particles.
    found = counts(event, [[1, 0, 2, 3], [0, 1, 0, 0]], [[2, 1], [1, 0]], [1, 1])
    assert found["building", "all"][:2] == (1, 3)
    assert found["filtering", "all"] == (2, 3, 2)


@pytest.mark.parametrize("event", [make_event(0, (), pt=[]), make_event(0, (), noise=4, pt=[])])
def test_an_event_without_particles_has_no_true_edges(event):
    found = counts(event, [[], []], [[], []], [])
    assert set(found.values()) == {(0, 0, 0)}
