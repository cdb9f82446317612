"""Edge building: fixed-radius nearest neighbours (FRNN) in the embedding space, by faiss."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

BLOCK = 96  # points whose neighbours are searched together; 64 to 128 are equally fast
GPU_MEMORY = 2**28  # work space on the GPU of each thread [bytes]; faiss takes 1.5 GiB by itself

_local = threading.local()


def build_edges(
    embedding: np.ndarray, radius: float, k_max: int, device: str = "cpu"
) -> np.ndarray:
    """Joins every pair of points that lie closer than ``radius`` in the embedding space.

    A pair is kept if either point has the other among its ``k_max`` nearest neighbours within
    the radius: the fixed-radius search with a cap of the Exa.TrkX pipeline (EPJC 81, 876, 2021).

    Args:
        embedding: float32 (N, D); a point that is not finite has no neighbours.
        radius: largest Euclidean distance of a pair, exclusive.
        k_max: largest number of neighbours per point.
        device: ``cpu`` (``range_search`` of exact flat indices) or ``cuda`` (k-nearest search of
            the GPU's flat index, which has no range search, cut at the radius).

    Returns:
        int64 (2, E): each pair once, the smaller index in row 0, sorted.
    """
    n = len(embedding)
    if n < 2:
        return np.empty((2, 0), dtype=np.int64)
    search = _range_search if device == "cpu" else _knn_search_gpu
    first, second = search(np.ascontiguousarray(embedding), radius, k_max)
    key = np.unique(np.minimum(first, second) * n + np.maximum(first, second))
    return np.stack(np.divmod(key, n))


def edges_of_events(
    build: Callable[[np.ndarray], np.ndarray], embedding: np.ndarray, event_sizes: np.ndarray
) -> np.ndarray:
    """Builds the edges of several events: none joins points of two.

    Args:
        build: gives the edges of one event, see ``build_edges``.
        embedding: float32 (N, D), the events one after the other.
        event_sizes: int64 (B,), the number of points of each.

    Returns:
        int64 (2, E): as of one event, with the points' places in ``embedding``.

    Raises:
        ValueError: the sizes are not those of the events.
    """
    if (event_sizes < 0).any() or event_sizes.sum() != len(embedding):
        raise ValueError(
            f"event_sizes: expected numbers that add up to the {len(embedding)} space points"
        )
    starts = np.cumsum(event_sizes) - event_sizes
    edges = [
        build(embedding[start : start + size]) + start
        for start, size in zip(starts, event_sizes, strict=True)
    ]
    return np.concatenate([np.empty((2, 0), np.int64), *edges], axis=1)


def compiled_build_edges(embedding: Any, radius: float, k_max: int, event_sizes: Any = None) -> Any:
    """As ``build_edges`` on a CPU, by the operator of ``pipeline/kernels``, which must be loaded.

    Args:
        embedding: float32 tensor (N, D).
        radius: as there.
        k_max: as there; of neighbours that are equally far the ones with the smaller index count.
        event_sizes: int64 tensor (B,) if there are several events, as in ``edges_of_events``.

    Returns:
        int32 tensor (2, E).
    """
    import torch

    return torch.ops.exatrkx.build_edges(embedding, radius, k_max, event_sizes)


def _range_search(
    embedding: np.ndarray, radius: float, k_max: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each pair within the radius that the cap leaves, once: two arrays of indices.

    Points are searched in the order of their first principal component. Within the radius of a
    block of them are only points whose component is, and of these only the later ones are
    searched, for each pair once: less than a fifth of all pairs in an event.
    """
    n = len(embedding)
    centred = np.where(np.isfinite(embedding), embedding, 0.0).astype(np.float64)
    centred -= centred.mean(axis=0)
    component = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(component, kind="stable")
    component, embedding = component[order], embedding[order]
    ends = np.searchsorted(component, component + radius, side="right")
    pairs = []
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        index = faiss.IndexFlatL2(embedding.shape[1])
        index.add(embedding[start : ends[stop - 1]])
        limits, distances, neighbours = index.range_search(embedding[start:stop], radius * radius)
        points = np.repeat(np.arange(stop - start), np.diff(limits.astype(np.int64)))
        later = points < neighbours
        pairs.append((points[later] + start, neighbours[later] + start, distances[later]))
    first, second, distances = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    kept = _capped(first, second, distances, n, k_max)
    return order[first[kept]], order[second[kept]]


def _capped(
    first: np.ndarray, second: np.ndarray, distances: np.ndarray, n: int, k_max: int
) -> np.ndarray | slice:
    """Which pairs have a point that is among the ``k_max`` nearest of the other; an index."""
    counts = np.bincount(first, minlength=n) + np.bincount(second, minlength=n)
    if counts.max() <= k_max:
        return slice(None)
    points, neighbours = np.concatenate([first, second]), np.concatenate([second, first])
    near = counts[points] <= k_max
    cut = np.flatnonzero(~near)  # only their lists are sorted
    points, neighbours = points[cut], neighbours[cut]
    order = np.lexsort((neighbours, distances[cut % len(distances)], points))
    counts = counts[counts > k_max]
    rank = np.arange(len(cut)) - np.repeat(np.cumsum(counts) - counts, counts)
    near[cut[order]] = rank < k_max
    return near[: len(first)] | near[len(first) :]


def _gpu() -> faiss.StandardGpuResources:
    """This thread's memory on the GPU: it is slow to allocate, and not for several threads."""
    if not hasattr(_local, "gpu"):
        gpu = faiss.StandardGpuResources()
        gpu.setTempMemory(GPU_MEMORY)
        _local.gpu = gpu
    return _local.gpu


def _knn_search_gpu(
    embedding: np.ndarray, radius: float, k_max: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each point and its at most ``k_max`` neighbours on the GPU, cut at the radius."""
    n = len(embedding)
    distances, neighbours = faiss.knn_gpu(_gpu(), embedding, embedding, min(k_max + 1, n))
    points = np.broadcast_to(np.arange(n)[:, None], neighbours.shape)
    kept = (distances < radius * radius) & (points != neighbours)
    return points[kept], neighbours[kept]
