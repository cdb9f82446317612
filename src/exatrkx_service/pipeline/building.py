"""Edge building: fixed-radius nearest neighbours (FRNN) in the embedding space, by faiss."""

from __future__ import annotations

import threading

import faiss
import numpy as np

_local = threading.local()


def build_edges(
    embedding: np.ndarray, radius: float, k_max: int, device: str = "cpu"
) -> np.ndarray:
    """Joins every pair of points that lie closer than ``radius`` in the embedding space.

    A pair is kept if either point has the other among its ``k_max`` nearest neighbours within
    the radius: the fixed-radius search with a cap of the Exa.TrkX pipeline (EPJC 81, 876, 2021).

    Args:
        embedding: float32 (N, D), C-contiguous.
        radius: largest Euclidean distance of a pair, exclusive.
        k_max: largest number of neighbours per point.
        device: ``cpu`` (``range_search`` of an exact flat index) or ``cuda`` (k-nearest search of
            the GPU's flat index, which has no range search, cut at the radius).

    Returns:
        int64 (2, E): each pair once, the smaller index in row 0, sorted.
    """
    n = len(embedding)
    if n < 2:
        return np.empty((2, 0), dtype=np.int64)
    search = _range_search if device == "cpu" else _knn_search_gpu
    points, neighbours, capped = search(np.ascontiguousarray(embedding), radius, k_max)
    if capped:
        # Where a list was cut, j may be in i's list and i not in j's: sort each pair, once.
        other = points != neighbours
        low = np.minimum(points[other], neighbours[other])
        high = np.maximum(points[other], neighbours[other])
        key = np.unique(low * n + high)
    else:
        # All lists are complete, so each pair is there twice: the half with i < j holds each once.
        half = points < neighbours
        key = points[half] * n + neighbours[half]
        key.sort()
    return np.stack(np.divmod(key, n))


def _range_search(
    embedding: np.ndarray, radius: float, k_max: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """All neighbours of each point within the radius, at most the ``k_max`` nearest of each."""
    n = len(embedding)
    index = faiss.IndexFlatL2(embedding.shape[1])
    index.add(embedding)
    limits, distances, neighbours = index.range_search(embedding, radius * radius)
    counts = np.diff(limits.astype(np.int64))
    points = np.repeat(np.arange(n), counts)
    # A point is its own nearest neighbour, so a complete list has up to k_max + 1 entries.
    if counts.max(initial=0) <= k_max + 1:
        return points, neighbours, False
    order = np.lexsort((neighbours, distances, points))
    rank = np.arange(len(points)) - np.repeat(limits[:-1].astype(np.int64), counts)
    kept = order[rank <= k_max]
    return points[kept], neighbours[kept], True


def _gpu() -> faiss.StandardGpuResources:
    """This thread's memory on the GPU: it is slow to allocate, and not for several threads."""
    if not hasattr(_local, "gpu"):
        _local.gpu = faiss.StandardGpuResources()
    return _local.gpu


def _knn_search_gpu(
    embedding: np.ndarray, radius: float, k_max: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The ``k_max`` nearest neighbours of each point on the GPU, cut at the radius."""
    n = len(embedding)
    distances, neighbours = faiss.knn_gpu(_gpu(), embedding, embedding, min(k_max + 1, n))
    inside = distances < radius * radius
    points = np.broadcast_to(np.arange(n)[:, None], inside.shape)[inside]
    return points, neighbours[inside], True
