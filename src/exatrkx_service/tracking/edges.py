"""True edges, and how many of them each stage of the pipeline keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.events.event import Event
from exatrkx_service.models.data import to_training_event
from exatrkx_service.pipeline.tensors import to_numpy
from exatrkx_service.tracking.populations import in_populations

EDGE_STAGES = ("building", "filtering", "gnn")


def found_edges(event: Event, tensors: Mapping[str, Any], gnn_cut: float) -> pd.DataFrame:
    """Counts the edges and the true edges that each stage keeps of one event.

    Args:
        event: the event with its truth.
        tensors: ``edges``, ``filtered_edges`` and ``edge_scores`` as the stages give them (numpy
            arrays or tensors). The direction of an edge does not count.
        gnn_cut: score below which labeling ignores an edge.

    Returns:
        One row per stage of ``EDGE_STAGES`` and population of particles, with ``event``,
        ``stage``, ``population``, and the numbers (int64) ``n_edges`` that the stage keeps in
        all, ``n_true`` edges of the population, and ``n_found`` of these that the stage keeps.
    """
    names = ("edges", "filtered_edges", "edge_scores")
    built, filtered, scores = (to_numpy(tensors[name]) for name in names)
    truth = to_training_event(event).truth_edges
    truth_keys = _keys(truth, len(event))
    particle = event.particle_index[truth[0]]
    populations = {name: mask[particle] for name, mask in in_populations(event.particles).items()}
    rows = []
    kept = (built, filtered, filtered[:, scores >= gnn_cut])
    for stage, edges in zip(EDGE_STAGES, kept, strict=True):
        found = np.isin(truth_keys, _keys(edges, len(event)))
        for population, mask in populations.items():
            counts = (edges.shape[1], int(mask.sum()), int(found[mask].sum()))
            rows.append((event.event_id, stage, population, *counts))
    columns = ["event", "stage", "population", "n_edges", "n_true", "n_found"]
    return pd.DataFrame(rows, columns=columns)


def _keys(edges: np.ndarray, n_points: int) -> np.ndarray:
    """One number per edge (2, E), whatever its direction."""
    low, high = edges.min(axis=0).astype(np.int64), edges.max(axis=0)
    return low * n_points + high
