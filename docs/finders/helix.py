"""Tracks as clusters of points on the same helix, with the clustering of SciPy; docs/finders.md."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree


def helix(reach=0.01, eta_weight=0.12, n_curvatures=31, largest_curvature=0.001, longest=20):
    """A function that finds tracks; curvatures are 1 / (2 R) of helices from the beam [1/mm]."""
    curvatures = np.linspace(-largest_curvature, largest_curvature, n_curvatures)

    def find(space_points):
        r, phi, z = space_points.T.astype(float)
        n = len(r)
        labels, sizes = np.full(n, -1), np.full(n, 2)
        for number, curvature in enumerate(curvatures):
            # Turned back along helices of this curvature, the points of one lie on each other.
            turn = np.arcsin(np.clip(curvature * r, -1, 1))
            eta = np.arcsinh(z * np.sinc(turn / np.pi) / r)
            place = np.column_stack([np.cos(phi + turn), np.sin(phi + turn), eta_weight * eta])
            pairs = KDTree(place).query_pairs(reach, output_type="ndarray")
            joined = coo_array((np.ones(len(pairs)), tuple(pairs.T)), (n, n))
            cluster = connected_components(joined, directed=False)[1]
            size = np.bincount(cluster)[cluster]
            better = (size > sizes) & (size <= longest)  # each point keeps its longest track
            labels[better], sizes[better] = number * n + cluster[better], size[better]
        return labels

    return find
