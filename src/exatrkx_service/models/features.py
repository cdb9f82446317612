"""Geometric features of space points and edges that the networks compute from (r, phi, z).

Everything here is TorchScript: the exported models take raw space points, and no client has to know
how a network wants its inputs scaled.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Names of the features in their order; weights say which ones they were trained with.
NODE_FEATURES = ("r", "z", "x", "y", "cos_phi", "sin_phi", "eta", "distance")
EDGE_FEATURES = ("dr", "dz", "sin_dphi", "chord", "d0", "z0", "eta", "deta")
N_NODE_FEATURES = len(NODE_FEATURES)
N_EDGE_FEATURES = len(EDGE_FEATURES)


def node_features(space_points: Tensor) -> Tensor:
    """Features of each space point, not yet scaled.

    Phi enters as cosine and sine so that points on both sides of the cut at pi stay neighbours.

    Args:
        space_points: float32 (N, 3): r [mm], phi [rad], z [mm].

    Returns:
        float32 (N, 8): r, z, x, y [mm], cos phi, sin phi, pseudorapidity, distance from the
        origin [mm].
    """
    r = space_points[:, 0]
    phi = space_points[:, 1]
    z = space_points[:, 2]
    cos = torch.cos(phi)
    sin = torch.sin(phi)
    eta = torch.asinh(z / r.clamp(min=1e-3))
    distance = torch.sqrt(r * r + z * z)
    return torch.stack([r, z, r * cos, r * sin, cos, sin, eta, distance], dim=1)


def orient_edges(space_points: Tensor, edges: Tensor) -> Tensor:
    """Turns every edge so that it starts at the point nearer to the origin.

    Args:
        space_points: float32 (N, 3): r [mm], phi [rad], z [mm].
        edges: int32 or int64 (2, E).

    Returns:
        (2, E), of the type of ``edges``: the same edges in the same order. An edge whose points are
        equally far from the origin starts at the point with the smaller index, so the result does
        not depend on the direction given.
    """
    r = space_points[:, 0]
    z = space_points[:, 2]
    squared = r * r + z * z
    first, second = edges[0], edges[1]
    d_first = squared.index_select(0, first)
    d_second = squared.index_select(0, second)
    swap = (d_first > d_second) | ((d_first == d_second) & (first > second))
    return torch.stack([torch.where(swap, second, first), torch.where(swap, first, second)])


def edge_features(nodes: Tensor, edges: Tensor) -> Tensor:
    """Features of each oriented edge, not yet scaled.

    Impact parameters are those of the straight line through both points; they are bounded, because
    points that nearly coincide in the transverse plane would make them arbitrarily large.

    Args:
        nodes: float32 (N, 8) from ``node_features``.
        edges: int32 or int64 (2, E), inner to outer.

    Returns:
        float32 (E, 8): differences in r and z [mm], sine of the difference in phi, transverse
        distance [mm], transverse and longitudinal impact parameter [mm], pseudorapidity of the
        edge's direction, and how far that is from the inner point's pseudorapidity.
    """
    # One gather of the first few columns per end costs less than one per feature.
    inner = nodes.index_select(0, edges[0]).t()
    outer = nodes.index_select(0, edges[1]).t()
    dr = outer[0] - inner[0]
    dz = outer[1] - inner[1]
    dx = outer[2] - inner[2]
    dy = outer[3] - inner[3]
    chord = torch.sqrt(dx * dx + dy * dy).clamp(min=1e-2)
    cross = inner[2] * outer[3] - inner[3] * outer[2]
    sin_dphi = inner[4] * outer[5] - inner[5] * outer[4]
    slope = dz / chord
    d0 = (cross / chord).clamp(-300.0, 300.0)
    along = (inner[2] * dx + inner[3] * dy) / chord
    z0 = (inner[1] - along * slope).clamp(-600.0, 600.0)
    eta = torch.asinh(slope)
    return torch.stack([dr, dz, sin_dphi, chord, d0, z0, eta, eta - inner[6]], dim=1)
