"""Track labeling: from the edges that the GNN scored to one label per space point.

Two ways, chosen by ``pipeline.labeling`` of the configuration: connected components, and a
walk-through of them, which keeps tracks apart that an edge joins. A walk-through after connected
components is what the GNN4ITk chain does, https://doi.org/10.5281/zenodo.15178159; here the walks
of all points are chosen together, so that they do not depend on where one begins.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# The labelings by the name that the configuration has for them, each with the key of its cut.
CUT_KEYS = {"components": "gnn_cut", "walkthrough": "walk_cut"}


def label_tracks(
    n_space_points: int, edges: np.ndarray, scores: np.ndarray, cut: float
) -> np.ndarray:
    """Gives the space points of each connected component one label.

    Args:
        n_space_points: N.
        edges: int64 (2, F), indices of space points.
        scores: float32 (F,), GNN score of each edge.
        cut: edges with a score below are left out.

    Returns:
        int64 (N,): the smallest space point index in the component, so that equal partitions
        have equal labels whatever the order of the edges; -1 for a space point with no edge.
    """
    kept = edges[:, scores >= cut]
    adjacency = coo_array(
        (np.ones(kept.shape[1], dtype=np.int8), (kept[0], kept[1])),
        shape=(n_space_points, n_space_points),
    )
    n_components, component = connected_components(adjacency, directed=False)
    first = np.full(n_components, n_space_points, dtype=np.int64)
    np.minimum.at(first, component, np.arange(n_space_points))
    labels = first[component]
    labels[np.bincount(component, minlength=n_components)[component] < 2] = -1
    return labels


def label_walks(
    n_space_points: int, edges: np.ndarray, scores: np.ndarray, cut: float
) -> np.ndarray:
    """Gives the space points of each walk one label.

    A walk goes from point to point along edges, at most one to each point and one from it, so it
    is a chain. It has no cycle, for every edge leads away from the origin. Where no point has a
    choice of edges the walks are the connected components.

    Args:
        n_space_points: N.
        edges: int64 (2, F), indices of space points, inner to outer as filtering gives them.
        scores: float32 (F,), GNN score of each edge.
        cut: edges with a score below are not walked.

    Returns:
        int64 (N,): as ``label_tracks``, of the walks. It depends on the edges' direction, not on
        their order.
    """
    walked = scores >= cut
    edges, scores = edges[:, walked], scores[walked]
    chosen = choose_edges(n_space_points, edges, scores)
    return label_tracks(n_space_points, edges[:, chosen], scores[chosen], cut)


def choose_edges(n_space_points: int, edges: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Chooses at most one edge from and one edge to every space point, high scores first.

    The edge with the highest score is chosen, the others from its inner and to its outer point
    are given up, and so on with those that are left (a greedy matching). Each pass does that at
    once for all edges that no better one competes with; two or three passes do in most events.

    Args:
        n_space_points: N.
        edges: int64 (2, F), inner to outer.
        scores: float32 (F,); of equal ones the edge with the smaller inner, then outer index wins.

    Returns:
        int64: indices of the chosen edges.
    """
    order = np.lexsort((edges[1], edges[0], -scores))
    # A point has two places: the one its edge outward takes, and the one its edge inward takes.
    places = edges[:, order]
    places[1] += n_space_points
    rank = np.arange(len(order))  # of the edges that are left; the best has the smallest
    chosen = []
    while len(rank):
        best = np.full(2 * n_space_points, len(order))
        for place in places[:, rank]:
            np.minimum.at(best, place, rank)
        wins = rank[(best[places[:, rank]] == rank).all(axis=0)]
        chosen.append(wins)
        free = np.ones(2 * n_space_points, dtype=bool)
        free[places[:, wins]] = False
        rank = rank[free[places[:, rank]].all(axis=0)]
    return order[np.concatenate([np.empty(0, dtype=np.int64), *chosen])]
