"""Training of the three networks, one after the other: embedding, filter, GNN.

After Exa.TrkX, Eur. Phys. J. C 81, 876 (2021). True edges join consecutive space points of one
particle; edges between points of one particle that are not consecutive count neither as true nor as
false for embedding and filter, and as false for the GNN.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from exatrkx_service.models.data import (
    TrainingEvent,
    is_true,
    load_sample,
    missing_truth,
    same_particle,
    split_sample,
)
from exatrkx_service.models.features import edge_features, node_features, orient_edges
from exatrkx_service.models.fitting import ProgressFunction, fit
from exatrkx_service.models.networks import NETWORKS
from exatrkx_service.models.weights import load_network, save_weights
from exatrkx_service.pipeline.building import build_edges

ARCHITECTURES: dict[str, dict[str, int]] = {
    "embedding": {"hidden": 128, "n_layers": 3, "dimension": 8},
    "filtering": {"hidden": 64, "node_hidden": 96},
    "gnn": {"hidden": 32, "n_layers": 4},
}
MAX_OVERLAYS = 6  # HNL decays laid over a training event
HNL_WEIGHT = 5.0  # weight of an edge of an HNL decay product in the losses
ATTRACTION = 3.0  # weight of attraction against repulsion in the embedding's loss
N_SCALING_EVENTS = 50  # events from which the feature scaling is measured


def train_embedding(
    events: Mapping[int, Path],
    destination: Path,
    train: dict[str, Any],
    pipeline: dict[str, Any],
    *,
    cache: Path | None = None,
    checkpoint: Path | None = None,
    progress: ProgressFunction | None = None,
) -> dict[str, Any]:
    """Trains the embedding: consecutive points attract, other pairs within the radius repel.

    Args:
        events: folder of each training event, with truth, by its number.
        destination: weights file to write (safetensors).
        train: the ``train`` section of the configuration.
        pipeline: the ``pipeline`` section of the configuration; ``radius`` is the margin within
            which pairs repel.
        cache: npz file that keeps the events' arrays between stages and runs.
        checkpoint: file that is written after every epoch and from which a run that was
            interrupted goes on; a run that ends removes it.
        progress: called after every epoch with its number and mean loss.

    Returns:
        Metrics on the validation events at the radius of ``pipeline``; also in the file's header.

    Raises:
        ValueError: no events, or a checkpoint that does not belong to this run.
    """
    margin, k_max = pipeline["radius"], pipeline["k_max"]

    def loss(network: nn.Module, event: TrainingEvent) -> Tensor:
        embedding = network(torch.from_numpy(event.space_points))
        edges = build_edges(embedding.detach().numpy(), margin, k_max)
        false = torch.from_numpy(edges[:, ~same_particle(event, edges)])
        true = torch.from_numpy(event.truth_edges)
        weight = torch.from_numpy(_edge_weight(event, event.truth_edges))
        attract = (weight * _distance_squared(embedding, true)).sum() / weight.sum().clamp(min=1)
        gap = margin - torch.sqrt(_distance_squared(embedding, false) + 1e-9)
        repel = torch.relu(gap).square().sum() / max(1, false.shape[1])
        return ATTRACTION * attract + repel

    stage = _Stage("embedding", events, destination, train, pipeline, cache)
    return stage.run(loss, lambda event: event.truth_edges, checkpoint, progress)


def train_filtering(
    events: Mapping[int, Path],
    embedding_weights: Path,
    destination: Path,
    train: dict[str, Any],
    pipeline: dict[str, Any],
    *,
    cache: Path | None = None,
    checkpoint: Path | None = None,
    progress: ProgressFunction | None = None,
) -> dict[str, Any]:
    """Trains the filter on the edges that the trained embedding gives at the working radius.

    True edges beyond the radius are added, so that the filter learns all of them.

    Args:
        events: folder of each training event, with truth, by its number.
        embedding_weights: weights file of the embedding.
        destination: weights file to write (safetensors).
        train: the ``train`` section of the configuration.
        pipeline: the ``pipeline`` section of the configuration.
        cache: npz file that keeps the events' arrays between stages and runs.
        checkpoint: file that is written after every epoch and from which a run that was
            interrupted goes on; a run that ends removes it.
        progress: called after every epoch with its number and mean loss.

    Returns:
        Metrics on the validation events at ``filter_cut``; also in the file's header.

    Raises:
        WeightsError: the embedding's weights cannot be used.
        ValueError: no events, or a checkpoint that does not belong to this run.
    """
    graph = GraphBuilder(pipeline, embedding_weights)

    def loss(network: nn.Module, event: TrainingEvent) -> Tensor:
        points = torch.from_numpy(event.space_points)
        built = graph(event)
        edges = np.concatenate([built, missing_truth(event, built)], axis=1)
        true = is_true(event, edges)
        weight = _edge_weight(event, edges) * (true | ~same_particle(event, edges))
        oriented = orient_edges(points, torch.from_numpy(edges))
        return _cross_entropy(network.logits(points, oriented), true, weight)

    earlier = [embedding_weights]
    stage = _Stage("filtering", events, destination, train, pipeline, cache, earlier)
    return stage.run(loss, graph, checkpoint, progress)


def train_gnn(
    events: Mapping[int, Path],
    embedding_weights: Path,
    filtering_weights: Path,
    destination: Path,
    train: dict[str, Any],
    pipeline: dict[str, Any],
    *,
    cache: Path | None = None,
    checkpoint: Path | None = None,
    progress: ProgressFunction | None = None,
) -> dict[str, Any]:
    """Trains the GNN on the edges that pass the trained filter.

    Args:
        events: folder of each training event, with truth, by its number.
        embedding_weights: weights file of the embedding.
        filtering_weights: weights file of the filter.
        destination: weights file to write (safetensors).
        train: the ``train`` section of the configuration.
        pipeline: the ``pipeline`` section of the configuration.
        cache: npz file that keeps the events' arrays between stages and runs.
        checkpoint: file that is written after every epoch and from which a run that was
            interrupted goes on; a run that ends removes it.
        progress: called after every epoch with its number and mean loss.

    Returns:
        Metrics on the validation events at ``gnn_cut``; also in the file's header.

    Raises:
        WeightsError: the weights of an earlier stage cannot be used.
        ValueError: no events, or a checkpoint that does not belong to this run.
    """
    graph = GraphBuilder(pipeline, embedding_weights, filtering_weights)

    def loss(network: nn.Module, event: TrainingEvent) -> Tensor:
        edges = graph(event)
        # Consecutive points alone: with all pairs of a particle as the target, edges that skip a
        # layer stay, and each is one more chance to join two tracks.
        true, weight = is_true(event, edges), _edge_weight(event, edges)
        logits = network.logits(torch.from_numpy(event.space_points), torch.from_numpy(edges))
        return _cross_entropy(logits, true, weight)

    earlier = [embedding_weights, filtering_weights]
    stage = _Stage("gnn", events, destination, train, pipeline, cache, earlier)
    return stage.run(loss, graph, checkpoint, progress)


class GraphBuilder:
    """Edges of an event after embedding and building, and after the filter where one is given."""

    def __init__(self, pipeline: dict[str, Any], embedding: Path, filtering: Path | None = None):
        self.radius, self.k_max = pipeline["radius"], pipeline["k_max"]
        self.embedding = load_network(embedding, "embedding")
        self.filtering = None if filtering is None else load_network(filtering, "filtering")
        if self.filtering is not None:
            self.filtering.cut = float(pipeline["filter_cut"])

    @torch.no_grad()
    def __call__(self, event: TrainingEvent) -> np.ndarray:
        """int64 (2, E), oriented inner to outer."""
        points = torch.from_numpy(event.space_points)
        edges = build_edges(self.embedding(points).numpy(), self.radius, self.k_max)
        if self.filtering is None:
            return orient_edges(points, torch.from_numpy(edges)).numpy()
        return self.filtering(points, torch.from_numpy(edges)).numpy()


class _Stage:
    """One stage's run: sample, network, recipe, validation and the file at the end."""

    def __init__(
        self,
        name: str,
        events: Mapping[int, Path],
        destination: Path,
        train: dict[str, Any],
        pipeline: dict[str, Any],
        cache: Path | None,
        earlier: Iterable[Path] = (),
    ):
        self.name, self.destination, self.pipeline = name, Path(destination), pipeline
        sample = load_sample(events, cache)
        self.training, self.validation = split_sample(sample, train["validation_fraction"])
        self.architecture = ARCHITECTURES[name]
        self.recipe = {
            "architecture": self.architecture,
            "seed": train["seed"],
            "epochs": train["epochs"][name],
            "learning_rate": train["learning_rate"],
            "n_training_events": len(self.training),
            "n_validation_events": len(self.validation),
            "max_overlays": MAX_OVERLAYS,
            "hnl_weight": HNL_WEIGHT,
            "attraction": ATTRACTION,
            "radius": pipeline["radius"],
            "k_max": pipeline["k_max"],
            "filter_cut": pipeline["filter_cut"],
        }
        # For the checkpoint alone: the weights' header says what was chosen, not what was found.
        arrays = (array for event in self.training for array in vars(event).values())
        self.inputs = {
            "events_sha256": _sha256(array.tobytes() for array in arrays),
            "earlier_networks_sha256": _sha256(Path(path).read_bytes() for path in earlier),
        }

    def run(
        self,
        loss: Any,
        graph: Any,
        checkpoint: Path | None,
        progress: ProgressFunction | None,
    ) -> dict[str, Any]:
        """Fits the network and writes it; ``graph`` gives the edges to measure the scaling on."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe["seed"])
            network = NETWORKS[self.name](**self.architecture)
        self._measure_scaling(network, graph)
        start = time.monotonic()
        fit(
            network,
            self.training,
            lambda event: loss(network, event),
            self.recipe | self.inputs,
            checkpoint,
            progress,
        )
        seconds = time.monotonic() - start
        metrics = {"training_seconds": round(seconds, 1)} | self._validate(network, graph)
        metadata = {"architecture": self.architecture, "recipe": self.recipe, "metrics": metrics}
        save_weights(self.destination, self.name, network, metadata)
        if checkpoint is not None:
            Path(checkpoint).unlink(missing_ok=True)
        return metrics

    @torch.no_grad()
    def _measure_scaling(self, network: nn.Module, graph: Any) -> None:
        nodes, edges = [], []
        for event in self.training[:N_SCALING_EVENTS]:
            points = torch.from_numpy(event.space_points)
            raw = node_features(points)
            nodes.append(raw)
            edges.append(edge_features(raw, orient_edges(points, torch.from_numpy(graph(event)))))
        network.scale_nodes.measure(torch.cat(nodes))
        if hasattr(network, "scale_edges"):
            network.scale_edges.measure(torch.cat(edges))

    @torch.no_grad()
    def _validate(self, network: nn.Module, graph: Any) -> dict[str, float]:
        """Efficiency and purity of true edges on the validation events at the working point."""
        n_true = n_found = n_hnl = n_hnl_found = n_edges = 0
        for event in self.validation:
            points = torch.from_numpy(event.space_points)
            if self.name == "embedding":
                edges = build_edges(
                    network(points).numpy(), self.recipe["radius"], self.recipe["k_max"]
                )
            else:
                built = torch.from_numpy(graph(event))
                score = torch.sigmoid(network.logits(points, built))
                cut = self.pipeline["filter_cut" if self.name == "filtering" else "gnn_cut"]
                edges = built[:, score >= cut].numpy()
            true = is_true(event, edges)
            hnl = event.from_hnl[edges[0]]
            n_true += int((event.successor >= 0).sum())
            n_hnl += int((event.successor[event.from_hnl] >= 0).sum())
            n_found += int(true.sum())
            n_hnl_found += int((true & hnl).sum())
            n_edges += edges.shape[1]
        return {
            "edges_per_event": n_edges / len(self.validation),
            "edge_efficiency": n_found / max(1, n_true),
            "edge_efficiency_hnl": n_hnl_found / max(1, n_hnl),
            "edge_purity": n_found / max(1, n_edges),
        }


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _edge_weight(event: TrainingEvent, edges: np.ndarray) -> np.ndarray:
    """float32 (E,): 1, or more for a true edge of an HNL decay product."""
    hnl = is_true(event, edges) & event.from_hnl[edges[0]]
    return np.where(hnl, np.float32(HNL_WEIGHT), np.float32(1.0))


def _distance_squared(embedding: Tensor, edges: Tensor) -> Tensor:
    difference = embedding.index_select(0, edges[0]) - embedding.index_select(0, edges[1])
    return difference.square().sum(dim=1)


def _cross_entropy(logits: Tensor, target: np.ndarray, weight: np.ndarray) -> Tensor:
    """Weighted mean of the binary cross entropy; 0 for an event without edges."""
    weights = torch.from_numpy(weight)
    labels = torch.from_numpy(target.astype(np.float32))
    total = functional.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum")
    return total / weights.sum().clamp(min=1)
