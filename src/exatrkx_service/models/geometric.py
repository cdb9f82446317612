"""Building of edges by geometry alone: nothing here is trained.

The embedding puts points that are seen in a similar direction, and not far behind each other, near
each other. The filter is the edge selection on hit graphs of the HEP.TrkX and Exa.TrkX projects,
S. Farrell et al., arXiv:1810.06111, X. Ju et al., arXiv:2003.11603, and of G. DeZoort et al.,
arXiv:2103.16701: a bound on the change of phi with r, which is one on the momentum, and one on the
z at which the straight line through both points meets the beam. They also ask for neighbouring
layers of the detector, of which space points here say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from exatrkx_service.models.features import node_features
from exatrkx_service.models.foreign import ForeignFilter


class GeometricEmbedding(nn.Module):
    """A space of direction and distance, in which a radius search finds the neighbours on a track.

    Args:
        phi: how far apart in phi points may be, if in nothing else, to be at a distance of 1 [rad].
        eta: the same in pseudorapidity.
        log_distance: the same in the logarithm of the distance from the origin.
    """

    def __init__(self, phi: float, eta: float, log_distance: float):
        super().__init__()
        self.phi, self.eta, self.log_distance = float(phi), float(eta), float(log_distance)

    def forward(self, space_points: Tensor) -> Tensor:
        """float32 (N, 4) from float32 (N, 3): r [mm], phi [rad], z [mm]."""
        features = node_features(space_points)
        # The cosine and the sine have no seam at pi.
        cos, sin, eta, distance = features[:, 4], features[:, 5], features[:, 6], features[:, 7]
        return torch.stack(
            [
                cos / self.phi,
                sin / self.phi,
                eta / self.eta,
                torch.log(distance.clamp(min=1e-3)) / self.log_distance,
            ],
            dim=1,
        )


class GeometricCuts(nn.Module):
    """The score of an edge: 1 within both cuts, else 0.

    Args:
        phi_slope_max: largest change of phi with r [rad/mm].
        z0_max: largest distance from the origin at which the edge meets the beam [mm].
    """

    def __init__(self, phi_slope_max: float, z0_max: float):
        super().__init__()
        self.phi_slope_max, self.z0_max = float(phi_slope_max), float(z0_max)

    def forward(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """float32 (E,) from float32 (N, 3): r [mm], phi [rad], z [mm], and int32 (2, E)."""
        inner = space_points.index_select(0, edges[0]).t()
        outer = space_points.index_select(0, edges[1]).t()
        dr, dz = outer[0] - inner[0], outer[2] - inner[2]
        dphi = torch.remainder(outer[1] - inner[1] + math.pi, 2 * math.pi) - math.pi
        # Multiplied by dr, which may be 0.
        slope = dphi.abs() <= self.phi_slope_max * dr.abs()
        z0 = (inner[2] * dr - inner[0] * dz).abs() <= self.z0_max * dr.abs()
        return (slope & z0).to(torch.float32)


def build(stage: str, settings: Mapping[str, Any], filter_cut: float | None) -> nn.Module:
    """What takes the place of a network, with its interface.

    Args:
        stage: ``embedding`` or ``filtering``.
        settings: of the stage, in ``pipeline.geometric`` of the configuration.
        filter_cut: of the filter; between 0 and 1 any value keeps the same edges.
    """
    if stage == "embedding":
        return GeometricEmbedding(**settings).eval()
    return ForeignFilter(GeometricCuts(**settings), float(filter_cut)).eval()
