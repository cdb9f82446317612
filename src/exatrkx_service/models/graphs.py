"""Edges of training events after each stage, and how good they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from exatrkx_service.models.data import TrainingEvent, is_true
from exatrkx_service.models.features import orient_edges
from exatrkx_service.models.losses import device_of
from exatrkx_service.models.weights import load_network
from exatrkx_service.pipeline.building import build_edges


class GraphBuilder:
    """Edges of an event after embedding and building, and after the filter where one is given.

    Args:
        cuts: ``radius`` and ``k_max``, and with a filter ``filter_cut``.
        embedding: weights file of the embedding.
        filtering: weights file of the filter.
        device: ``cpu`` or ``cuda``.

    Raises:
        WeightsError: a weights file cannot be used.
    """

    def __init__(
        self,
        cuts: dict[str, Any],
        embedding: Path,
        filtering: Path | None = None,
        device: str = "cpu",
    ):
        self.radius, self.k_max = cuts["radius"], cuts["k_max"]
        self.embedding = load_network(embedding, "embedding").to(device)
        self.filtering = None
        if filtering is not None:
            self.filtering = load_network(filtering, "filtering").to(device)
            self.filtering.cut = float(cuts["filter_cut"])

    @torch.no_grad()
    def __call__(self, event: TrainingEvent) -> np.ndarray:
        """int64 (2, E), oriented inner to outer."""
        edges = torch.from_numpy(embedded_edges(self.embedding, event, self.radius, self.k_max))
        points = torch.from_numpy(event.space_points)
        if self.filtering is None:
            return orient_edges(points, edges).numpy()
        device = device_of(self.filtering)
        return self.filtering(points.to(device), edges.to(device)).cpu().numpy()


@torch.no_grad()
def embed(network: nn.Module, event: TrainingEvent) -> np.ndarray:
    """Points of an event in the embedding space: float32 (N, D)."""
    return network(torch.from_numpy(event.space_points).to(device_of(network))).cpu().numpy()


def embedded_edges(
    network: nn.Module, event: TrainingEvent, radius: float, k_max: int
) -> np.ndarray:
    """Edges that an embedding network gives: int64 (2, E), as ``build_edges``."""
    return build_edges(embed(network, event), radius, k_max, device_of(network).type)


@torch.no_grad()
def edge_scores(network: nn.Module, event: TrainingEvent, edges: np.ndarray) -> np.ndarray:
    """Scores of oriented edges (2, E) by filter or GNN: float32 (E,)."""
    device = device_of(network)
    points = torch.from_numpy(event.space_points).to(device)
    return torch.sigmoid(network.logits(points, torch.from_numpy(edges).to(device))).cpu().numpy()


def edge_metrics(
    found: Iterable[tuple[TrainingEvent, np.ndarray]],
) -> dict[str, float | None]:
    """Efficiency and purity of edges, summed over events.

    Args:
        found: events, each with its edges, int64 (2, E).

    Returns:
        ``edges_per_event``; ``edge_efficiency``: true edges found / true edges;
        ``edge_efficiency_hnl``: the same for the decay products of HNLs; ``edge_purity``: true
        edges found / edges. None where nothing can be found.
    """
    n_events = n_true = n_found = n_hnl = n_hnl_found = n_edges = 0
    for event, edges in found:
        true = is_true(event, edges)
        n_events += 1
        n_true += int((event.successor >= 0).sum())
        n_hnl += int((event.successor[event.from_hnl] >= 0).sum())
        n_found += int(true.sum())
        n_hnl_found += int((true & event.from_hnl[edges[0]]).sum())
        n_edges += edges.shape[1]
    return {
        "edges_per_event": _ratio(n_edges, n_events),
        "edge_efficiency": _ratio(n_found, n_true),
        "edge_efficiency_hnl": _ratio(n_hnl_found, n_hnl),
        "edge_purity": _ratio(n_found, n_edges),
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
