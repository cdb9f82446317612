from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exatrkx_service.pipeline import building
from exatrkx_service.pipeline.building import build_edges, compiled_build_edges
from exatrkx_service.pipeline.stages import make_building
from exatrkx_service.pipeline.tensors import DTYPES, to_numpy

# Multiples of 1/8: all squared distances are exact in float32, so brute force must agree.
POINTS = st.integers(0, 40).flatmap(
    lambda n: arrays(np.float32, (n, 3), elements=st.integers(-40, 40).map(lambda i: i / 8))
)


@pytest.fixture(params=["faiss", "compiled"])
def build(request):
    """Each of the two implementations on a CPU."""
    if request.param == "faiss":
        return build_edges
    request.getfixturevalue("kernel_library")

    def compiled(points, radius, k_max):
        return compiled_build_edges(torch.from_numpy(points), radius, k_max).numpy()

    return compiled


@pytest.fixture
def build_all(build, config, kernel_library):
    """The stage as the pipeline has it, in each of the two implementations."""
    library = kernel_library if build is not build_edges else ""

    def of(embedding, event_sizes, radius, k_max):
        parameters = {"radius": radius, "k_max": k_max, "kernel_library": library}
        return to_numpy(make_building(parameters, "cpu")(embedding, event_sizes))

    return of


def brute_force(points, radius, k_max):
    """Pairs by definition; neighbours at equal distance may be cut either way."""
    n = len(points)
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=2).astype(np.float64)
    np.fill_diagonal(distance, np.inf)
    pairs, sure = set(), set()
    for i in range(n):
        near = np.sort(distance[i])[: k_max + 1]
        last = near[min(k_max, len(near)) - 1] if len(near) else -1
        tie = len(near) > k_max and near[k_max] == last
        for j in range(n):
            if distance[i, j] < radius**2 and distance[i, j] <= last:
                pairs.add((min(i, j), max(i, j)))
                if not (tie and distance[i, j] == last):
                    sure.add((min(i, j), max(i, j)))
    return sure, pairs


@settings(
    deadline=None,
    max_examples=60,
    # The implementation is the same function in each example.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    points=POINTS,
    radius=st.sampled_from([0.3, 1.05, 2.55]),
    k_max=st.sampled_from([1, 3, 50]),
    block=st.sampled_from([1, 5, building.BLOCK]),
)
def test_agrees_with_brute_force(build, points, radius, k_max, block):
    with mock.patch.object(building, "BLOCK", block):
        edges = build(points, radius, k_max)
    found = list(map(tuple, edges.T.tolist()))
    sure, possible = brute_force(points, radius, k_max)
    if len(points) == len(np.unique(points, axis=0)):  # a copy of a point may take its own place
        assert sure <= set(found) <= possible
    assert found == sorted(set(found))
    assert all(i < j for i, j in found)
    assert edges.dtype == (np.int64 if build is build_edges else np.int32)
    assert edges.shape[0] == 2


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_points_have_no_edges(build, n):
    assert build(np.zeros((n, 8), np.float32), 1.0, 10).shape == (2, 0)


def test_takes_arrays_that_are_not_contiguous(build):
    points = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    expected = build(np.ascontiguousarray(points[:, ::2]), 2.5, 50)
    assert expected.shape[1] > 0
    np.testing.assert_array_equal(build(points[:, ::2], 2.5, 50), expected)


@pytest.mark.parametrize("radius", [0.2, 0.6, 3.0])
@pytest.mark.parametrize("k_max", [5, 40, 1000])
def test_events_of_several_blocks_agree_with_brute_force(build, radius, k_max):
    generator = np.random.default_rng(3)
    # On a lattice, so that distances are exact, and moved far away from the origin.
    points = generator.integers(-30, 30, (350, 4)).astype(np.float32) / 16 + 64
    points = np.unique(points, axis=0)
    generator.shuffle(points)
    assert len(points) > 3 * building.BLOCK
    found = set(map(tuple, build(points, radius, k_max).T.tolist()))
    sure, possible = brute_force(points, radius, k_max)
    assert sure <= found <= possible


@pytest.mark.parametrize("dimension", [1, 8])
def test_points_that_all_coincide_are_all_joined(build, dimension):
    edges = build(np.full((200, dimension), 3.0, np.float32), 0.5, 1000)
    assert edges.shape == (2, 200 * 199 // 2)


def test_a_pair_is_kept_if_either_point_lists_the_other(build):
    # The nearest neighbour of 2 is 1, of 1 it is 0: with k_max 1 both pairs stay.
    points = np.array([[0.0], [1.0], [2.5]], np.float32)
    np.testing.assert_array_equal(build(points, 5.0, 1), [[0, 1], [1, 2]])


def test_points_that_are_not_finite_have_no_neighbours(build):
    points = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    bad = np.array([[np.nan] * 4, [np.inf, 0, 0, 0]], np.float32)
    expected = build(points, 1.0, 50)
    assert expected.shape[1] > 0
    np.testing.assert_array_equal(build(np.concatenate([points, bad]), 1.0, 50), expected)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=st.lists(POINTS, min_size=1, max_size=4), k_max=st.sampled_from([1, 50]))
def test_edges_never_join_points_of_two_events(build, build_all, events, k_max):
    starts = np.cumsum([0, *map(len, events)])
    expected = [build(p, 2.55, k_max) + start for p, start in zip(events, starts, strict=False)]
    sizes = np.array([len(points) for points in events])
    found = build_all(np.concatenate(events), sizes, 2.55, k_max)
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))
    assert found.dtype == DTYPES["edges"]


@pytest.mark.parametrize("sizes", [[3, 3], [8], [-1, 8], [4, -1, 4], []])
def test_sizes_that_are_not_those_of_the_events_are_refused(build_all, sizes):
    with pytest.raises((ValueError, RuntimeError), match=r"event_sizes.* the 7 space points"):
        build_all(np.zeros((7, 3), np.float32), np.array(sizes, np.int64), 1.0, 5)
