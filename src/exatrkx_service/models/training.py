"""Training of the three networks, one after the other: embedding, filter, GNN.

After Exa.TrkX, Eur. Phys. J. C 81, 876 (2021). The settings of a stage are those of the section
``train`` of the configuration that it depends on: ``seed``, ``validation_fraction``, ``patience``,
its own ``epochs``, ``learning_rate`` and the arguments of its ``network``, the ``cuts`` that make
the edges it learns on, and for events from elsewhere their ``source`` as ``sample``.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from exatrkx_service.models.data import TrainingEvent, load_sample, split_sample
from exatrkx_service.models.features import edge_features, node_features, orient_edges
from exatrkx_service.models.fitting import ProgressFunction, best_epoch, fit
from exatrkx_service.models.graphs import GraphBuilder, edge_metrics, edge_scores, embedded_edges
from exatrkx_service.models.losses import (
    HNL_WEIGHT,
    MARGIN,
    TAIL_START,
    TAIL_WEIGHT,
    Loss,
    embedding_loss,
    filtering_loss,
    gnn_loss,
)
from exatrkx_service.models.networks import NETWORKS
from exatrkx_service.models.weights import save_weights

MAX_OVERLAYS = 6  # HNL decays laid over a training event
N_SCALING_EVENTS = 50  # events from which the feature scaling is measured

CURVE_COLUMNS = (
    "epoch",
    "training_loss",
    "validation_loss",
    "edges_per_event",
    "edge_efficiency",
    "edge_efficiency_hnl",
    "edge_purity",
    "seconds",
)


def train_embedding(
    events: Mapping[int, Path],
    destination: Path,
    settings: dict[str, Any],
    *,
    device: str = "cpu",
    cache: Path | None = None,
    checkpoint: Path | None = None,
    progress: ProgressFunction | None = None,
) -> dict[str, Any]:
    """Trains the embedding: consecutive points attract, other pairs that are near repel.

    Args:
        events: folder of each training event, with truth, by its number.
        destination: weights file to write (safetensors); the learning curve goes beside it, see
            ``curve_path``.
        settings: see above; pairs repel up to a little more than the cut ``radius``.
        device: ``cpu``, on which a seed and a number of threads give one set of weights, or
            ``cuda``.
        cache: npz file that keeps the events' arrays between stages and runs.
        checkpoint: file that is written after every epoch and from which a run that was
            interrupted goes on; a run that ends removes it.
        progress: called after every epoch with its number and mean loss.

    Returns:
        Metrics of the best epoch on the validation events at the cuts of the settings; also in the
        file's header.

    Raises:
        ValueError: too few events, events without truth, or a checkpoint that does not belong to
            this run.
    """
    cuts = settings["cuts"]
    radius, k_max = cuts["radius"], cuts["k_max"]
    stage = _Stage("embedding", events, destination, settings, device, cache)
    return stage.run(
        loss=lambda network, event: embedding_loss(network, event, radius, k_max),
        graph=lambda event: event.truth_edges,
        kept=lambda network, event: embedded_edges(network, event, radius, k_max),
        checkpoint=checkpoint,
        progress=progress,
    )


def train_filtering(
    events: Mapping[int, Path],
    embedding_weights: Path,
    destination: Path,
    settings: dict[str, Any],
    *,
    device: str = "cpu",
    cache: Path | None = None,
    checkpoint: Path | None = None,
    progress: ProgressFunction | None = None,
) -> dict[str, Any]:
    """Trains the filter on the edges that the trained embedding gives at the radius.

    True edges beyond the radius are added, so that the filter learns all of them.

    Args:
        events: folder of each training event, with truth, by its number.
        embedding_weights: weights file of the embedding.
        destination: weights file to write (safetensors).
        settings: see above; the metrics are those at the cut ``filter_cut``.
        device: as for ``train_embedding``.
        cache: npz file that keeps the events' arrays between stages and runs.
        checkpoint: as for ``train_embedding``.
        progress: called after every epoch with its number and mean loss.

    Returns:
        As ``train_embedding``.

    Raises:
        WeightsError: the embedding's weights cannot be used.
        ValueError: as ``train_embedding``.
    """
    graph = GraphBuilder(settings["cuts"], embedding_weights, device=device)
    earlier = [embedding_weights]
    stage = _Stage("filtering", events, destination, settings, device, cache, earlier)
    return stage.run(
        loss=lambda network, event: filtering_loss(network, event, graph(event)),
        graph=graph,
        kept=_passing(graph, settings["cuts"]["filter_cut"]),
        checkpoint=checkpoint,
        progress=progress,
    )


def train_gnn(
    events: Mapping[int, Path],
    embedding_weights: Path,
    filtering_weights: Path,
    destination: Path,
    settings: dict[str, Any],
    *,
    device: str = "cpu",
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
        settings: see above; the metrics are those at the cut ``gnn_cut``.
        device: as for ``train_embedding``.
        cache: npz file that keeps the events' arrays between stages and runs.
        checkpoint: as for ``train_embedding``.
        progress: called after every epoch with its number and mean loss.

    Returns:
        As ``train_embedding``.

    Raises:
        WeightsError: the weights of an earlier stage cannot be used.
        ValueError: as ``train_embedding``.
    """
    graph = GraphBuilder(settings["cuts"], embedding_weights, filtering_weights, device)
    earlier = [embedding_weights, filtering_weights]
    stage = _Stage("gnn", events, destination, settings, device, cache, earlier)
    return stage.run(
        loss=lambda network, event: gnn_loss(network, event, graph(event)),
        graph=graph,
        kept=_passing(graph, settings["cuts"]["gnn_cut"]),
        checkpoint=checkpoint,
        progress=progress,
    )


def curve_path(weights: Path) -> Path:
    """The learning curve of a weights file: a CSV with ``CURVE_COLUMNS``, one row per epoch."""
    return Path(weights).with_suffix(".curve.csv")


def _passing(graph: Callable, cut: float) -> Callable[[nn.Module, TrainingEvent], np.ndarray]:
    """The edges of a graph whose score reaches the cut, as a function of network and event."""

    def kept(network: nn.Module, event: TrainingEvent) -> np.ndarray:
        edges = graph(event)
        return edges[:, edge_scores(network, event, edges) >= cut]

    return kept


class _Stage:
    """One stage's run: sample, network, recipe, validation and the files at the end."""

    def __init__(
        self,
        name: str,
        events: Mapping[int, Path],
        destination: Path,
        settings: dict[str, Any],
        device: str,
        cache: Path | None,
        earlier: Iterable[Path] = (),
    ):
        self.name, self.destination, self.device = name, Path(destination), device
        sample = load_sample(events, cache)
        self.training, self.validation = split_sample(sample, settings["validation_fraction"])
        self.recipe = {
            "architecture": settings["network"],
            "seed": settings["seed"],
            "epochs": settings["epochs"],
            "patience": settings["patience"],
            "learning_rate": settings["learning_rate"],
            "n_training_events": len(self.training),
            "n_validation_events": len(self.validation),
            "max_overlays": MAX_OVERLAYS,
            "hnl_weight": HNL_WEIGHT,
            "margin": MARGIN,
            "tail_weight": TAIL_WEIGHT,
            "tail_start": TAIL_START,
        } | settings["cuts"]
        self.sample = {key: settings[key] for key in ("sample",) if key in settings}
        # For the checkpoint alone: the weights' header says what was chosen, not what was found.
        arrays = (array for event in sample for array in vars(event).values())
        self.inputs = {
            "events_sha256": _sha256(array.tobytes() for array in arrays),
            "earlier_networks_sha256": _sha256(Path(path).read_bytes() for path in earlier),
        }

    def run(
        self,
        *,
        loss: Callable[[nn.Module, TrainingEvent], Loss],
        graph: Callable[[TrainingEvent], np.ndarray],
        kept: Callable[[nn.Module, TrainingEvent], np.ndarray],
        checkpoint: Path | None,
        progress: ProgressFunction | None,
    ) -> dict[str, Any]:
        """Fits the network and writes it.

        Args:
            loss: of one event.
            graph: the edges of an event to measure the feature scaling on.
            kept: the edges of an event that pass the stage, for the metrics.
            checkpoint: see ``train_embedding``.
            progress: see ``train_embedding``.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe["seed"])
            network = NETWORKS[self.name](**self.recipe["architecture"])
        self._measure_scaling(network, graph)
        network.to(self.device)
        curve = fit(
            network,
            self.training,
            lambda event: loss(network, event),
            lambda: self._validate(network, loss, kept),
            self.recipe | self.inputs,
            checkpoint,
            progress,
        )
        best = curve[best_epoch(curve) - 1]
        metrics = {
            "training_seconds": round(sum(row["seconds"] for row in curve), 1),
            "epochs": len(curve),
            "best_epoch": best["epoch"],
        } | {key: value for key, value in best.items() if key not in ("epoch", "seconds")}
        metadata = {"architecture": self.recipe["architecture"], "recipe": self.recipe}
        metadata |= self.sample
        _write_curve(curve_path(self.destination), curve)
        save_weights(self.destination, self.name, network, metadata | {"metrics": metrics})
        if checkpoint is not None:
            Path(checkpoint).unlink(missing_ok=True)
        return metrics

    @torch.no_grad()
    def _measure_scaling(self, network: nn.Module, graph: Callable) -> None:
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
    def _validate(
        self, network: nn.Module, loss: Callable, kept: Callable
    ) -> dict[str, float | None]:
        """Mean loss and edge metrics on the validation events, as they are."""
        total = sum(float(loss(network, event).shown) for event in self.validation)
        metrics = edge_metrics((event, kept(network, event)) for event in self.validation)
        return {"validation_loss": total / len(self.validation)} | metrics


def _write_curve(path: Path, curve: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, CURVE_COLUMNS)
        writer.writeheader()
        writer.writerows(curve)


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
