"""Each metric against an event small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from exatrkx_service.analysis.physics import (
    count_true_edges,
    match_tracks,
    reconstructable,
    summarise,
    tracking_performance,
)
from exatrkx_service.events.event import Event
from exatrkx_service.models.data import to_training_event


def test_true_edges_are_counted_once_whatever_their_direction():
    truth = np.array([[0, 1, 3], [1, 2, 4]])
    edges = np.array([[1, 0, 2, 3], [0, 1, 0, 0]])  # 0-1 in both directions, 2-0 and 3-0 false
    assert count_true_edges(edges, truth, 5) == 1
    assert count_true_edges(truth[::-1], truth, 5) == 3
    assert count_true_edges(np.empty((2, 0), np.int64), truth, 5) == 0
    assert count_true_edges(edges, np.empty((2, 0), np.int64), 5) == 0


def test_matching_needs_both_majorities():
    # particle 0: 4 points, all in track 7. particle 1: 6 points, exactly half of them in track 9.
    # particle 2: 3 points, 2 of them in track 20 with 2 points of no particle: half of the track.
    particle = np.array([0] * 4 + [1] * 6 + [2] * 3 + [-1] * 2)
    labels = np.array([7] * 4 + [9] * 3 + [-1] * 3 + [20, 20, -1] + [20, 20])
    match = match_tracks(labels, particle)
    assert match.n_candidates == 3
    assert match.particles.tolist() == [0]
    labels[7] = 9  # now 4 of 6
    labels[14] = -1  # now 2 of 3
    match = match_tracks(labels, particle)
    assert match.n_candidates == 3
    assert match.particles.tolist() == [0, 1, 2]


def test_merged_tracks_match_only_the_larger_particle():
    particle = np.array([4] * 5 + [6] * 3)
    assert match_tracks(np.zeros(8, np.int64), particle).particles.tolist() == [4]
    assert match_tracks(np.zeros(8, np.int64), np.array([4] * 4 + [6] * 4)).particles.size == 0


def test_a_split_particle_is_found_at_most_once():
    particle = np.zeros(7, np.int64)
    match = match_tracks(np.array([0, 0, 0, 0, 4, 4, 4]), particle)
    assert (match.n_candidates, match.particles.tolist()) == (2, [0])


def test_two_points_are_no_candidate_and_no_points_no_match():
    match = match_tracks(np.array([0, 0, -1]), np.array([3, 3, 3]))
    assert (match.n_candidates, match.particles.size) == (0, 0)
    empty = np.empty(0, np.int64)
    match = match_tracks(empty, empty)
    assert (match.n_candidates, match.particles.size) == (0, 0)
    with pytest.raises(ValueError, match="2 labels, expected 3"):
        match_tracks(np.zeros(2, np.int64), np.zeros(3, np.int64))


def test_reconstructable_is_charged_hard_and_seen():
    particles = pd.DataFrame(
        {
            "charge": [1.0, -1.0, 0.0, 1.0, 1.0],
            "pt": [0.6, 0.6, 5.0, 0.5, 9.0],
            "n_space_points": [3, 4, 9, 9, 2],
        }
    )
    assert reconstructable(particles).tolist() == [True, True, False, False, False]


def test_true_edges_follow_the_flight_from_the_production_vertex():
    # particle 0 comes from the beam line, particle 1 from r = 300 mm and flies inwards.
    r = [100.0, 30.0, 70.0, 30.0, 250.0, 110.0, 50.0]
    points = np.column_stack([r, np.zeros(7), np.full(7, 5.0)]).astype(np.float32)
    particles = pd.DataFrame({"vr": [0.0, 300.0], "vz": [0.0, 5.0], "from_hnl": [False, True]})
    event = Event(0, points, np.array([0, 0, 0, 1, 1, 1, -1]), particles)
    truth = to_training_event(event)
    assert sorted(zip(*truth.truth_edges.tolist(), strict=True)) == [(1, 2), (2, 0), (4, 5), (5, 3)]
    assert truth.from_hnl.tolist() == [False] * 3 + [True] * 3 + [False]


def test_summary_adds_counts_before_dividing():
    names = ["reconstructable", "reconstructable_hnl", "matched", "matched_hnl", "truth"]
    names += ["truth_hnl", "candidates", "candidates_matched"]
    names += [f"{k}_{s}" for k in ("edges", "true", "hnl") for s in ("building", "filtering")]
    names += [f"{k}_gnn" for k in ("edges", "true", "hnl")]
    counts = pd.DataFrame(0, index=range(2), columns=names)
    counts["reconstructable"], counts["matched"] = [1, 9], [1, 4]
    summary = summarise(counts)
    efficiency = summary["technical efficiency"]
    assert (efficiency["value"], efficiency["passed"], efficiency["total"]) == (0.5, 5, 10)
    # Wilson score interval of 5 of 10 at 95 %: (0.2366, 0.7634), Wilson, JASA 22, 209 (1927).
    assert efficiency["low"] == pytest.approx(0.2366, abs=1e-4)
    assert efficiency["high"] == pytest.approx(0.7634, abs=1e-4)
    assert summary["track purity"]["value"] is None


def test_performance_of_a_whole_event():
    # Two particles of three points; the pipeline finds the first and half of the second's edges.
    points = np.array([[30, 0, 0], [70, 0, 0], [100, 0, 0]] * 2, np.float32)
    particles = pd.DataFrame(
        {
            "vr": [0.0, 0.0],
            "vz": [0.0, 0.0],
            "from_hnl": [False, True],
            "charge": [1.0, -1.0],
            "pt": [2.0, 2.0],
            "n_space_points": [3, 3],
        }
    )
    event = Event(0, points, np.array([0, 0, 0, 1, 1, 1]), particles)
    tensors = {
        "edges": np.array([[0, 1, 3, 4, 0], [1, 2, 4, 5, 3]]),
        "filtered_edges": np.array([[0, 1, 3, 0], [1, 2, 4, 3]]),
        "edge_scores": np.array([0.9, 0.5, 0.8, 0.1], np.float32),
        "labels": np.array([0, 0, 0, 3, 3, -1]),
    }
    performance = tracking_performance([(event, tensors)], gnn_cut=0.5)
    expected = {
        "technical efficiency": (1, 2),
        "technical efficiency, HNL": (0, 1),
        "track purity": (1, 1),
        "edge efficiency after building": (4, 4),
        "edge purity after building": (4, 5),
        "edge efficiency after filtering": (3, 4),
        "edge efficiency after filtering, HNL": (1, 2),
        "edge purity after filtering": (3, 4),
        "edge efficiency after gnn": (3, 4),
        "edge purity after gnn": (3, 3),
    }
    got = {name: (performance[name]["passed"], performance[name]["total"]) for name in expected}
    assert got == expected
