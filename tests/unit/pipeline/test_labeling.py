import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exatrkx_service.pipeline.labeling import (
    canonical,
    choose_edges,
    compiled_label_tracks,
    label_tracks,
    label_walks,
)

CUT = 0.5


@st.composite
def graphs(draw):
    n = draw(st.integers(0, 30))
    node = st.integers(0, max(n - 1, 0))
    pairs = st.tuples(node, node).filter(lambda pair: pair[0] != pair[1])
    edges = draw(st.lists(pairs, max_size=60, unique=True)) if n > 1 else []
    scores = draw(
        st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=len(edges), max_size=len(edges))
    )
    return n, np.array(edges, np.int32).reshape(-1, 2).T, np.array(scores, np.float32)


@given(graphs())
def test_agrees_with_networkx(graph):
    n, edges, scores = graph
    expected = np.full(n, -1)
    reference = nx.Graph(list(map(tuple, edges[:, scores >= CUT].T.tolist())))
    for component in nx.connected_components(reference):
        expected[list(component)] = min(component)
    labels = label_tracks(n, edges, scores, CUT)
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.int64


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs(), st.sampled_from([0.1, 0.5, 0.95]))
def test_the_compiled_one_gives_the_same(kernel_library, graph, cut):
    n, edges, scores = graph
    # An edge twice, and one from a point to itself.
    edges = np.concatenate([edges, edges[:, :1], np.zeros((2, int(n > 0)), np.int32)], axis=1)
    scores = np.concatenate([scores, scores[:1], np.ones(int(n > 0), np.float32)])
    tensors = torch.from_numpy(edges), torch.from_numpy(scores)
    labels = compiled_label_tracks(n, *tensors, cut).numpy()
    np.testing.assert_array_equal(labels, label_tracks(n, edges, scores, cut))
    assert labels.dtype == np.int64


@given(graphs(), st.randoms())
def test_does_not_depend_on_the_order_or_direction_of_edges(graph, random):
    n, edges, scores = graph
    order = random.sample(range(len(scores)), len(scores))
    np.testing.assert_array_equal(
        label_tracks(n, edges[::-1, order], scores[order], CUT),
        label_tracks(n, edges, scores, CUT),
    )


def walks(n, *edges, cut=CUT):
    """Labels of hand-made edges (inner, outer, score)."""
    inner, outer, scores = zip(*edges, strict=True)
    return label_walks(n, np.array([inner, outer]), np.array(scores, np.float32), cut).tolist()


def test_tracks_that_touch_stay_apart():
    first, second = [(0, 1, 0.9), (1, 2, 0.9), (2, 3, 0.9)], [(4, 5, 0.9), (5, 6, 0.9), (6, 7, 0.9)]
    touch = (1, 6, 0.8)
    assert walks(8, *first, touch, *second) == [0, 0, 0, 0, 4, 4, 4, 4]
    inner, outer, scores = zip(*first, touch, *second, strict=True)
    assert set(label_tracks(8, np.array([inner, outer]), np.array(scores), CUT)) == {0}


def test_at_a_branch_the_walk_takes_the_best_edge():
    stem = [(0, 1, 0.9), (1, 2, 0.8)]
    assert walks(4, *stem, (1, 3, 0.7)) == [0, 0, 0, -1]
    assert walks(4, *stem, (1, 3, 0.85)) == [0, 0, -1, 0]
    # What is beyond the branch that was not taken is a track of its own.
    assert walks(5, *stem, (1, 3, 0.7), (3, 4, 0.6)) == [0, 0, 0, 3, 3]


def test_walks_are_chosen_together():
    # The best edge alone, 1 -> 3, would leave 0 and 4 without any.
    assert walks(5, (0, 3, 0.7), (1, 3, 0.9), (1, 4, 0.8)) == [0, 1, -1, 0, 1]
    # ... but for edges that are worse together it is not given up.
    assert walks(5, (0, 3, 0.3), (1, 3, 0.9), (1, 4, 0.5), cut=0.2) == [-1, 1, -1, 1, -1]


def test_an_edge_below_the_cut_is_not_walked():
    assert walks(3, (0, 1, 0.5), (1, 2, 0.499)) == [0, 0, -1]
    assert walks(3, (0, 1, 0.5), (1, 2, 0.499), cut=0.25) == [0, 0, 0]


@st.composite
def oriented_graphs(draw):
    """Each pair of points once, from the smaller index; scores have ties."""
    n, edges, scores = draw(graphs())
    edges, first = np.unique(np.sort(edges, axis=0), axis=1, return_index=True)
    return n, edges, scores[first]


@given(oriented_graphs())
def test_the_choice_has_the_largest_sum(graph):
    n, edges, scores = graph
    chosen = choose_edges(n, edges, scores)
    assert all(len(np.unique(points)) == chosen.sum() for points in edges[:, chosen])
    reference = nx.Graph()
    for inner, outer, score in zip(*edges.tolist(), scores.tolist(), strict=True):
        reference.add_edge(("from", inner), ("to", outer), weight=score)
    best = nx.max_weight_matching(reference)
    expected = sum(reference.edges[pair]["weight"] for pair in best)
    assert scores[chosen].sum() == pytest.approx(expected)


@given(oriented_graphs())
def test_walks_are_the_components_of_the_chosen_edges(graph):
    n, edges, scores = graph
    labels = label_walks(n, edges, scores, CUT)
    kept = edges[:, scores >= CUT]
    chosen = kept[:, choose_edges(n, kept, scores[scores >= CUT])]
    np.testing.assert_array_equal(labels, label_tracks(n, chosen, np.ones(chosen.shape[1]), CUT))
    assert labels.dtype == np.int64
    # Every walk lies within one component, and as a chain has one edge less than points.
    components = label_tracks(n, edges, scores, CUT)
    for label in set(labels) - {-1}:
        track = labels == label
        assert len(set(components[track])) == 1
        assert track.sum() == (labels[chosen[0]] == label).sum() + 1


@given(oriented_graphs(), st.randoms())
def test_walks_do_not_depend_on_the_order_of_edges(graph, random):
    n, edges, scores = graph
    order = random.sample(range(len(scores)), len(scores))
    np.testing.assert_array_equal(
        label_walks(n, edges[:, order], scores[order], CUT), label_walks(n, edges, scores, CUT)
    )


@given(st.permutations(range(20)), st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=19))
def test_without_branches_walks_are_the_components(points, scores):
    edges, scores = np.array([points[:-1], points[1:]]), np.array(scores[:19], np.float32)
    np.testing.assert_array_equal(
        label_walks(20, edges, scores, CUT), label_tracks(20, edges, scores, CUT)
    )


@pytest.mark.parametrize("label", [label_tracks, label_walks])
def test_an_event_without_points_or_edges(label):
    none = np.empty((2, 0), np.int64), np.empty(0, np.float32)
    assert label(0, *none, CUT).shape == (0,)
    assert label(2, *none, CUT).tolist() == [-1, -1]


@given(graphs(), st.randoms())
def test_the_same_tracks_have_the_same_labels_whatever_their_numbers(graph, random):
    labels = label_tracks(*graph, CUT)
    np.testing.assert_array_equal(canonical(labels), labels)
    others = random.sample(range(100), 31)
    # As others number them: no order, and a number of its own for a point of no track, or below 0.
    alone = [-random.randint(1, 9) if random.random() < 0.5 else 1000 + i for i in range(graph[0])]
    theirs = [others[label] if label >= 0 else alone[i] for i, label in enumerate(labels)]
    np.testing.assert_array_equal(canonical(np.array(theirs, np.int64)), labels)
