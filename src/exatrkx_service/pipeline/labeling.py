"""Track labeling: connected components of the edges that the GNN kept."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


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
