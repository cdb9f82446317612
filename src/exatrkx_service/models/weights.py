"""Weights of a network as safetensors, with what is needed to rebuild and to judge it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from exatrkx_service.models.features import EDGE_FEATURES, NODE_FEATURES
from exatrkx_service.models.networks import NETWORKS

FEATURES = {"nodes": list(NODE_FEATURES), "edges": list(EDGE_FEATURES)}


class WeightsError(ValueError):
    """A weights file that is missing, corrupt or of another network."""


def save_weights(path: Path, stage: str, network: nn.Module, metadata: dict[str, Any]) -> None:
    """Writes a network's weights; the file is complete or not there.

    Args:
        path: destination.
        stage: ``embedding``, ``filtering`` or ``gnn``.
        network: the network; its feature scaling is part of the weights.
        metadata: ``architecture`` (arguments of the network's class), ``recipe``, ``metrics``; all
            JSON. They are written into the file's header, with the names of the features.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    entries = metadata | {"features": FEATURES}
    header = {"stage": stage} | {key: json.dumps(value) for key, value in entries.items()}
    tensors = {key: value.contiguous().cpu() for key, value in network.state_dict().items()}
    temporary.write_bytes(save(tensors, metadata=header))
    temporary.replace(path)


def read_metadata(path: Path, stage: str) -> dict[str, Any]:
    """Reads what ``save_weights`` wrote beside the weights.

    Raises:
        WeightsError: the file is missing, no safetensors, or of another stage.
    """
    return _read(Path(path), stage)[0]


def load_network(path: Path, stage: str) -> nn.Module:
    """Rebuilds a network from its weights file, in evaluation mode on the CPU.

    Args:
        path: the file.
        stage: ``embedding``, ``filtering`` or ``gnn``.

    Raises:
        WeightsError: the file is missing, no safetensors, of another stage, trained with other
            features, or its tensors do not fit its architecture.
    """
    path = Path(path)
    metadata, tensors = _read(path, stage)
    # Weights from before the names were written have today's features.
    if (features := metadata.get("features", FEATURES)) != FEATURES:
        raise WeightsError(f"{path}: header key features: {features!r}, expected {FEATURES!r}")
    try:
        network = NETWORKS[stage](**metadata["architecture"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: header key architecture: {metadata.get('architecture')!r}, expected the "
            f"arguments of {NETWORKS[stage].__name__}"
        ) from error
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        want = tuple(expected[name].shape) if name in expected else None
        have = tuple(tensors[name].shape) if name in tensors else None
        if want != have:
            raise WeightsError(
                f"{path}: tensor {name}: {_shape(have)}, expected {_shape(want)} "
                f"for architecture {metadata['architecture']}"
            )
        if not torch.isfinite(tensors[name]).all():
            raise WeightsError(f"{path}: tensor {name}: expected finite values")
        if name.endswith(".inverse_std") and not (tensors[name] > 0).all():
            raise WeightsError(f"{path}: tensor {name}: expected values above 0")
    network.load_state_dict(tensors)
    return network.eval()


def _shape(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else f"shape {shape}"


def _read(path: Path, stage: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file, expected the weights of {stage} (safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a safetensors file: {error}") from error
    if header.get("stage") != stage:
        raise WeightsError(f"{path}: header key stage: {header.get('stage')!r}, expected {stage!r}")
    try:
        return {k: json.loads(v) for k, v in header.items() if k != "stage"}, tensors
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path}: header: expected JSON: {error}") from error
