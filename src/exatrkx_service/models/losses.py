"""Losses of the three networks on one event.

After Exa.TrkX, Eur. Phys. J. C 81, 876 (2021). True edges join consecutive space points of one
particle; edges between points of one particle that are not consecutive count neither as true nor as
false for embedding and filter, and as false for the GNN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from exatrkx_service.models.data import TrainingEvent, is_true, missing_truth, same_particle
from exatrkx_service.models.features import orient_edges
from exatrkx_service.pipeline.building import build_edges

HNL_WEIGHT = 5.0  # weight of an edge of an HNL decay product in the losses
MARGIN = 1.2  # distance from which on a pair does not repel any more, in units of the radius
# True edges about as long as the radius are lost, and are few: those of tracks that begin far from
# the beam. Without a weight of their own most of the loss is in short ones.
TAIL_WEIGHT = 300.0  # of the squared distance beyond the tail's start
TAIL_START = 0.7  # in units of the radius


@dataclass(frozen=True)
class Loss:
    """The loss on one event.

    Attributes:
        minimised: a scalar with gradients, on the network's device.
        shown: a scalar that may be compared between epochs, and that tells which one is the best.
    """

    minimised: Tensor
    shown: Tensor


def embedding_loss(network: nn.Module, event: TrainingEvent, radius: float, k_max: int) -> Loss:
    """Consecutive points attract; points of different particles repel within the margin.

    The attraction grows with the squared distance, and much faster from ``TAIL_START`` on.

    What is minimised does not tell a good network from a bad one: its mean repulsion is that of the
    hardest pairs, which stay, and all of it changes with the scale of the embedding. What is shown
    is the cost of a true edge, the mean number of false edges that are shorter: a radius that keeps
    the one lets in the others. Those beyond the margin are not counted.

    Args:
        network: the embedding.
        event: the event.
        radius: the radius of building.
        k_max: at most this many neighbours of a point repel it.
    """
    device = device_of(network)
    margin = MARGIN * radius
    embedding = network(torch.from_numpy(event.space_points).to(device))
    edges = build_edges(embedding.detach().cpu().numpy(), margin, k_max, device.type)
    false = torch.from_numpy(edges[:, ~same_particle(event, edges)]).to(device)
    true = torch.from_numpy(event.truth_edges).to(device)
    weight = torch.from_numpy(_edge_weight(event, event.truth_edges)).to(device)
    distance, false_distance = _distance(embedding, true), _distance(embedding, false)
    tail = torch.relu(distance - TAIL_START * radius).square()
    pull = distance.square() + TAIL_WEIGHT * tail
    repel = torch.relu(margin - false_distance).square().sum() / max(1, false.shape[1])
    shorter = torch.searchsorted(false_distance.detach().sort().values, distance.detach())
    total = weight.sum().clamp(min=1)
    return Loss((weight * pull).sum() / total + repel, (weight * shorter).sum() / total)


def filtering_loss(network: nn.Module, event: TrainingEvent, built: np.ndarray) -> Loss:
    """Cross entropy on the edges built; true edges beyond the radius are added.

    Args:
        network: the filter.
        event: the event.
        built: int64 (2, E), the edges after building.
    """
    edges = np.concatenate([built, missing_truth(event, built)], axis=1)
    true = is_true(event, edges)
    weight = _edge_weight(event, edges) * (true | ~same_particle(event, edges))
    points = torch.from_numpy(event.space_points)
    oriented = orient_edges(points, torch.from_numpy(edges))
    return _cross_entropy(network, points, oriented, true, weight)


def gnn_loss(network: nn.Module, event: TrainingEvent, edges: np.ndarray) -> Loss:
    """Cross entropy on the edges that passed the filter.

    Args:
        network: the GNN.
        event: the event.
        edges: int64 (2, F), oriented.
    """
    # Consecutive points alone: with all pairs of a particle as the target, edges that skip a
    # layer stay, and each is one more chance to join two tracks.
    true, weight = is_true(event, edges), _edge_weight(event, edges)
    points = torch.from_numpy(event.space_points)
    return _cross_entropy(network, points, torch.from_numpy(edges), true, weight)


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters are."""
    return next(network.parameters()).device


def _edge_weight(event: TrainingEvent, edges: np.ndarray) -> np.ndarray:
    """float32 (E,): 1, or more for a true edge of an HNL decay product."""
    hnl = is_true(event, edges) & event.from_hnl[edges[0]]
    return np.where(hnl, np.float32(HNL_WEIGHT), np.float32(1.0))


def _distance(embedding: Tensor, edges: Tensor) -> Tensor:
    difference = embedding.index_select(0, edges[0]) - embedding.index_select(0, edges[1])
    return torch.linalg.vector_norm(difference, dim=1)


def _cross_entropy(
    network: nn.Module, points: Tensor, edges: Tensor, target: np.ndarray, weight: np.ndarray
) -> Loss:
    """Weighted mean of the binary cross entropy; 0 for an event without edges."""
    device = device_of(network)
    logits = network.logits(points.to(device), edges.to(device))
    weights = torch.from_numpy(weight).to(device)
    labels = torch.from_numpy(target.astype(np.float32)).to(device)
    total = functional.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum")
    loss = total / weights.sum().clamp(min=1)
    return Loss(loss, loss.detach())
