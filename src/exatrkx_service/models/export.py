"""Export of trained weights as the TorchScript files of the model repository."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor, nn

from exatrkx_service.identity import file_sha256, network_identity
from exatrkx_service.models import foreign, geometric
from exatrkx_service.models.features import NODE_FEATURES, node_features, orient_edges
from exatrkx_service.models.fused import fuse
from exatrkx_service.models.networks import NETWORKS
from exatrkx_service.models.weights import load_network, read_metadata
from exatrkx_service.paths import network_file, replacement
from exatrkx_service.pipeline import kernels
from exatrkx_service.pipeline.building import build_edges
from exatrkx_service.pipeline.stages import IDENTITY, reason, script_path
from exatrkx_service.pipeline.tensors import DTYPES

WEIGHTS = Path(__file__).parent / "weights"  # the weights that the package ships
CHECK_EVENTS = WEIGHTS / "check_events.safetensors"
N_WARM_UP = 3  # TorchScript optimises itself in its first calls; later ones are compared, too


MAX_FUSED = 1e-3  # difference of an output by rounding; 7e-5 for the networks that are shipped
MAX_MEAN, MAX_RATIO = 2.0, 4.0  # of scaled features of the check events, whose own are 0 and 1


class ExportError(ValueError):
    """A network that does not fit the detector, or computes something else once exported."""


def export_all(
    weights_dir: Path, model_repo: Path, pipeline_config: Mapping[str, Any]
) -> dict[str, Path]:
    """Exports the three networks into a model repository.

    Args:
        weights_dir: folder with ``<stage>.safetensors``.
        model_repo: folder in which ``<stage>/1/model.pt`` is written.
        pipeline_config: the ``pipeline`` section of the configuration, for ``filter_cut``, and for
            ``models`` and ``geometric``, which take the place of networks of the folder.

    Returns:
        The files written, by stage.

    Raises:
        WeightsError, ModelError, ExportError: as of ``export``.
    """
    files, pipeline = {}, {**pipeline_config, "weights": weights_dir}
    for stage in NETWORKS:
        files[stage] = script_path(model_repo, stage)
        export(
            stage,
            network_file(pipeline, stage),
            files[stage],
            filter_cut=pipeline["filter_cut"],
            model=replacement(pipeline, stage),
            kernel_library=pipeline.get("kernel_library", ""),
        )
    return files


def export(
    stage: str,
    weights_path: Path | str | None,
    destination: Path,
    *,
    filter_cut: float | None = None,
    model: Mapping[str, Any] | None = None,
    kernel_library: str = "",
) -> None:
    """Writes one network as frozen TorchScript, after comparing it with the eager network.

    The comparison is made on real events that lie beside the shipped weights, and on an event
    without space points, and asks for identical bits on the CPU.

    Args:
        stage: ``embedding``, ``filtering`` or ``gnn``.
        weights_path: the weights (safetensors), or somebody else's network; None for geometric
            cuts.
        destination: the TorchScript file; complete or not there.
        filter_cut: score below which the filter drops an edge; for ``filtering`` alone. It lies in
            the file, with the digest of the weights: see ``identity.network_identity``.
        model: how somebody else's network is used, see ``foreign.wrap``, or the geometric cuts,
            see ``geometric.build``; None for weights.
        kernel_library: the operators that its layers are fused with, see ``fused``; none if empty.

    Raises:
        WeightsError: the weights file cannot be used.
        ModelError: somebody else's network cannot be used.
        ExportError: the network's feature scaling is not that of this detector's space points in
            mm, or the exported network's output differs from the eager one's.
    """
    name = f"pipeline.geometric.{stage}" if weights_path is None else weights_path
    if weights_path is None:
        network = geometric.build(stage, model, filter_cut)
    elif model is not None:
        largest_first = sorted(read_check_events(), key=len, reverse=True)
        examples = [_inputs(stage, points) for points in largest_first]
        network = foreign.wrap(stage, Path(weights_path), model, examples, filter_cut)
    else:
        network = load_network(weights_path, stage)
        # Those trained on events from elsewhere may be of any detector.
        if "sample" not in read_metadata(weights_path, stage):
            _check_scaling(network, weights_path)
        if stage == "filtering":
            network.cut = float(filter_cut)
        if kernel_library:
            kernels.load(kernel_library)
            network = _fused(stage, network, weights_path)
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(destination.name + ".partial")
    try:
        digest = None if weights_path is None else file_sha256(weights_path)
        identity = network_identity(stage, digest, filter_cut, model, kernel_library)
        # Folding layers into one, as batch normalisation, would change the last bits of others'.
        torch.jit.save(
            torch.jit.freeze(torch.jit.script(network), optimize_numerics=model is None),
            temporary,
            _extra_files={IDENTITY: json.dumps(identity)},
        )
        _compare(stage, network, torch.jit.load(temporary), name)
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)


@torch.inference_mode()
def _check_scaling(network: nn.Module, weights_path: Path | str) -> None:
    """The check events must look, after the network's scaling, like those it was trained on."""
    features = torch.cat([node_features(torch.from_numpy(p)) for p in read_check_events()])
    scaled = network.scale_nodes(features)
    for name, values in zip(NODE_FEATURES, scaled.T, strict=True):
        mean, std = float(values.mean()), float(values.std())
        if abs(mean) > MAX_MEAN or not 1 / MAX_RATIO < std < MAX_RATIO:
            raise ExportError(
                f"{weights_path}: tensors scale_nodes: feature {name} of the check events has mean "
                f"{mean:.3g} and standard deviation {std:.3g} after scaling, expected about 0 and "
                "1: were the weights trained on another detector, or in other units than mm?"
            )


@torch.inference_mode()
def _fused(stage: str, network: nn.Module, weights_path: Path | str) -> nn.Module:
    """The fused form of a network, after comparing it with the network on the check events."""
    form = fuse(network)
    for number, points in enumerate(read_check_events() if form is not network else ()):
        inputs = _inputs(stage, points)
        if stage != "filtering":
            worst = (form(*inputs) - network(*inputs)).abs().max()
        else:
            # Edges whose score is next to the cut may fall on either side of it.
            edges, kept = orient_edges(*inputs), form(*inputs)
            scores = torch.sigmoid(network.logits(inputs[0], edges))
            numbers = (pair[0].long() * len(points) + pair[1] for pair in (edges, kept))
            other = torch.isin(*numbers) != (scores >= network.cut)
            worst = (scores[other] - network.cut).abs().max() if other.any() else 0.0
        if not worst <= MAX_FUSED:
            raise ExportError(
                f"{weights_path}: {stage} with fused layers differs from the network by "
                f"{worst:.2g} in check event {number}, expected at most {MAX_FUSED}; "
                "pipeline.kernels: torch does without"
            )
    return form


@torch.inference_mode()
def _compare(stage: str, eager: nn.Module, scripted: nn.Module, name: Path | str) -> None:
    for number, points in enumerate([*read_check_events(), np.empty((0, 3), np.float32)]):
        inputs = _inputs(stage, points)
        expected = eager(*inputs)
        for _ in range(N_WARM_UP):
            try:
                found = scripted(*inputs)
            except (RuntimeError, torch.jit.Error) as error:
                raise ExportError(
                    f"{name}: TorchScript of {stage} fails on check event {number} ({len(points)} "
                    f"space points): {reason(error)}; expected an answer"
                ) from None
            if not torch.equal(found, expected):
                raise ExportError(
                    f"{name}: TorchScript of {stage} differs from the eager network on "
                    f"check event {number} ({len(points)} space points); expected identical bits"
                )


def _inputs(stage: str, points: np.ndarray) -> tuple[Tensor, ...]:
    """Inputs of a stage; edges join points that are near in (cos phi, sin phi, eta)."""
    tensor = torch.from_numpy(points)
    if stage == "embedding":
        return (tensor,)
    r, phi, z = points.T
    directions = np.stack([np.cos(phi), np.sin(phi), np.arcsinh(z / r)], axis=1)
    edges = build_edges(directions, radius=0.1, k_max=50).astype(DTYPES["edges"])
    return tensor, torch.from_numpy(edges)


def read_check_events(path: Path = CHECK_EVENTS) -> list[np.ndarray]:
    """Space points of the events for the comparison at export.

    Raises:
        ExportError: the file is missing or corrupt.
    """
    try:
        events = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ExportError(f"{path}: expected space points (safetensors): {error}") from error
    return [events[name] for name in sorted(events)]
