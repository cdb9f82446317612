"""Stages without a network, and the whole pipeline, as TorchScript: the native backend serves them.

They call the operators that a client calls, ``pipeline/kernels``. Without those, Python models of
the repository serve these stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exatrkx_service.options import FUSED, NETWORKS
from exatrkx_service.pipeline import kernels
from exatrkx_service.pipeline.labeling import CUT_KEYS
from exatrkx_service.pipeline.stages import check_network, script_path


def scripted_models(pipeline: Mapping[str, Any], device: str) -> tuple[str, ...]:
    """Names of the models, but for the networks, that there are as TorchScript.

    Args:
        pipeline: the ``pipeline`` section, see ``identity.with_networks``.
        device: ``cpu`` or ``cuda``, resolved.
    """
    if device != "cpu" or not pipeline["kernel_library"]:
        return ()
    if pipeline["labeling"] == "components":
        return ("building", "labeling", FUSED)
    return ("building",)  # the walk-through is Python


def write_scripted(
    model: str, repository: Path, pipeline: Mapping[str, Any], destination: Path
) -> None:
    """Writes a model as TorchScript.

    Args:
        model: one of ``scripted_models``.
        repository: with the exported networks.
        pipeline: the ``pipeline`` section, see ``identity.with_networks``.
        destination: the file.

    Raises:
        ModelFileError: an exported network is missing, or another one.
    """
    import torch

    from exatrkx_service.serving import torchscript

    kernels.load(pipeline["kernel_library"])
    building = torchscript.Building(float(pipeline["radius"]), int(pipeline["k_max"]))
    labeling = torchscript.Labeling(float(pipeline[CUT_KEYS["components"]]))
    if model == FUSED:
        networks = {}
        for stage in NETWORKS:
            path = script_path(repository, stage)
            check_network(path, pipeline["networks"][stage])
            networks[stage] = torch.jit.load(str(path))
        module = torchscript.Whole(building=building, labeling=labeling, **networks)
    else:
        module = {"building": building, "labeling": labeling}[model]
    torch.jit.save(torch.jit.script(module.eval()), str(destination))
