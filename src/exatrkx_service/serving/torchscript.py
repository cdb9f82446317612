"""The modules of ``scripted``; torch and the operators must be loaded before."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Building(nn.Module):
    """Edge building; see ``pipeline.building``.

    Args:
        radius: largest distance of a pair.
        k_max: largest number of neighbours per point.
    """

    def __init__(self, radius: float, k_max: int):
        super().__init__()
        self.radius, self.k_max = radius, k_max

    def forward(self, embedding: Tensor, event_sizes: Tensor | None = None) -> Tensor:
        """Edges, int32 (2, E), of float32 (N, D), and int64 (B,) if there are several events."""
        return torch.ops.exatrkx.build_edges(embedding, self.radius, self.k_max, event_sizes)


class Labeling(nn.Module):
    """Track labeling by connected components; see ``pipeline.labeling``.

    Args:
        cut: edges with a lower score are left out.
    """

    def __init__(self, cut: float):
        super().__init__()
        self.cut = cut

    def forward(self, space_points: Tensor, filtered_edges: Tensor, edge_scores: Tensor) -> Tensor:
        """Labels, int64 (N,)."""
        return torch.ops.exatrkx.label_tracks(
            space_points.size(0), filtered_edges, edge_scores, self.cut
        )


class Whole(nn.Module):
    """All five stages; notes when each is done, see ``laps.cpp``.

    Args:
        embedding, building, filtering, gnn, labeling: the stages.
    """

    def __init__(
        self,
        embedding: nn.Module,
        building: nn.Module,
        filtering: nn.Module,
        gnn: nn.Module,
        labeling: nn.Module,
    ):
        super().__init__()
        self.embedding, self.building, self.filtering = embedding, building, filtering
        self.gnn, self.labeling = gnn, labeling

    def forward(self, space_points: Tensor, event_sizes: Tensor | None = None) -> Tensor:
        """Labels, int64 (N,), of float32 (N, 3), and int64 (B,) if there are several events."""
        embedding = self.embedding(space_points)
        torch.ops.exatrkx.lap(embedding, "embedding")
        edges = self.building(embedding, event_sizes)
        torch.ops.exatrkx.lap(edges, "building")
        filtered = self.filtering(space_points, edges)
        torch.ops.exatrkx.lap(filtered, "filtering")
        scores = self.gnn(space_points, filtered)
        torch.ops.exatrkx.lap(scores, "gnn")
        labels = self.labeling(space_points, filtered, scores)
        torch.ops.exatrkx.lap(labels, "labeling")
        return labels
