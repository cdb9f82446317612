"""Track labeling: from the edges that the GNN scored to one label per space point.

Two ways, chosen by ``pipeline.labeling`` of the configuration: connected components, and a
walk-through of them, which keeps tracks apart that an edge joins. A walk-through after connected
components is what the GNN4ITk chain does, https://doi.org/10.5281/zenodo.15178159; here all walks
are chosen together, so that they do not depend on where one begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

# The labelings by the name that the configuration has for them, each with the key of its cut.
CUT_KEYS = {"components": "gnn_cut", "walkthrough": "walk_cut"}


def label_tracks(
    n_space_points: int, edges: np.ndarray, scores: np.ndarray, cut: float
) -> np.ndarray:
    """Gives the space points of each connected component one label.

    Args:
        n_space_points: N.
        edges: integers (2, F), indices of space points.
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


def compiled_label_tracks(n_space_points: int, edges: Any, scores: Any, cut: float) -> Any:
    """As ``label_tracks``, by the operator of ``pipeline/kernels``, which must be loaded.

    Args:
        n_space_points: as there, as all else, but edges and scores are tensors.
        edges: int32 (2, F).
        scores: float32 (F,).
        cut: as there.

    Returns:
        int64 tensor (N,).
    """
    import torch

    return torch.ops.exatrkx.label_tracks(n_space_points, edges, scores, cut)


def canonical(labels: np.ndarray) -> np.ndarray:
    """The labels that ``label_tracks`` would give to the same tracks.

    Args:
        labels: int64 (N,), any numbers; a negative one is of no track, and so is one that a single
            space point has.
    """
    _, first, group, size = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    found = first[group].astype(np.int64)
    found[(labels < 0) | (size[group] < 2)] = -1
    return found


def label_walks(
    n_space_points: int, edges: np.ndarray, scores: np.ndarray, cut: float
) -> np.ndarray:
    """Gives the space points of each walk one label.

    A walk goes from point to point along edges, at most one to each point and one from it, so it
    is a chain. It has no cycle, for every edge leads away from the origin. The edges are chosen
    together, with the largest sum of scores. Where no point has a choice the walks are the
    connected components.

    Args:
        n_space_points: N.
        edges: integers (2, F), indices of space points, inner to outer as filtering gives them.
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
    """Chooses at most one edge from and one edge to every space point, with the largest sum.

    An edge that is the only one from its inner and to its outer point is always chosen; that are
    most. For the others it is an assignment of inner to outer points.

    Args:
        n_space_points: N.
        edges: integers (2, F), inner to outer, each pair of points once.
        scores: float32 (F,), positive.

    Returns:
        bool (F,): whether the edge is chosen. Of choices with equal sums it is one that does not
        depend on the order of the edges.
    """
    inner, outer = edges
    n_from, n_to = (np.bincount(points, minlength=n_space_points) for points in edges)
    chosen = (n_from[inner] == 1) & (n_to[outer] == 1)
    contested = ~chosen
    if contested.any():
        chosen[contested] = _assign(inner[contested], outer[contested], scores[contested])
    return chosen


def _assign(inner: np.ndarray, outer: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Bool (F,): the edges of a matching with the largest sum of scores; a point may have none."""
    inner, outer = (np.unique(points, return_inverse=True)[1] for points in (inner, outer))
    n_inner, n_outer = inner.max() + 1, outer.max() + 1
    every_inner, every_outer = np.arange(n_inner), np.arange(n_outer)
    # scipy matches every row and column. So each point has a double on the other side that it is
    # matched with where it gets no edge; where two points get an edge, their doubles match.
    rows = (inner, every_inner, n_inner + every_outer, n_inner + outer)
    columns = (outer, n_outer + every_inner, every_outer, n_outer + inner)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    weights = np.ones(len(rows))  # explicit zeros would not count as entries
    weights[: len(scores)] += scores
    graph = csr_array((weights, (rows, columns)))
    partner = min_weight_full_bipartite_matching(graph, maximize=True)[1]
    return partner[inner] == outer
