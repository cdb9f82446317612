"""The five stages as they run in a process of one's own: a client's, or a server model's.

This is the one implementation of each stage. A service option that keeps a stage on the client
calls it here, and the model that serves the stage calls it here as well.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exatrkx_service.options import NETWORKS, STAGES
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline import kernels
from exatrkx_service.pipeline.tensors import DTYPES, to_numpy, to_tensor

StageFunction = Callable[..., Any]
IDENTITY = "exatrkx.json"  # file inside an exported network: what it is, see ``identity``


def script_path(model_repository: Path, stage: str) -> Path:
    """Where the exported TorchScript of a stage lies in the model repository."""
    return Path(model_repository) / stage / "1" / "model.pt"


def load_scripted(
    path: Path, device: str, identity: Mapping[str, str], kernel_library: str = ""
) -> StageFunction:
    """Loads an exported network, if it is the one that is expected.

    Args:
        path: the TorchScript file.
        device: ``cpu`` or ``cuda``.
        identity: what it must be, see ``identity.network_identity``.
        kernel_library: the operators that are in it, see ``identity.with_networks``.

    Returns:
        A function of the stage's inputs (numpy arrays or tensors) that gives a tensor on the
        device.

    Raises:
        ModelFileError: the file is missing, is no TorchScript, or is another network.
    """
    import torch

    path = Path(path)
    check_network(path, identity)
    if kernel_library:
        kernels.load(kernel_library)
    if "runtime" in identity:
        from exatrkx_service.pipeline import onnx_operator

        onnx_operator.register()
    try:
        module = torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise ModelFileError(f"{path}: expected a TorchScript file: {reason(error)}") from error
    module.eval()
    devices.place_constants(module, device)
    if device == "cuda":
        devices.make_repeatable()

    def run(*inputs: Any) -> Any:
        # inference_mode is per thread, so it is entered per call.
        with torch.inference_mode():
            try:
                output = module(*(to_tensor(array, device) for array in inputs))
            except (RuntimeError, torch.jit.Error) as error:  # with the whole way to it
                raise StageError(f"{path}: {reason(error)}") from error
        if device == "cuda":
            torch.cuda.synchronize()
        return output

    return run


def check_network(path: Path, identity: Mapping[str, str]) -> None:
    """Checks that a file is the exported network that is expected; without loading it.

    Args:
        path: the TorchScript file.
        identity: what it must be, see ``identity.network_identity``.

    Raises:
        ModelFileError: the file is missing, is no archive as TorchScript's are, or is another
            network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.endswith(f"/extra/{IDENTITY}")]
            found = json.loads(archive.read(inside[0])) if inside else {}
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file; `snakemake export` makes it") from None
    except (OSError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ModelFileError(f"{path}: expected a TorchScript file: {error}") from error
    for key in [*identity, *sorted(found.keys() - identity.keys())]:
        value, other = identity.get(key, "none"), found.get(key, "not recorded")
        if other != value:
            rule = "compile_libraries" if key == "kernels" else "export_network"
            raise ModelFileError(
                f"{path}: {key} {other}, expected {value}, that of the "
                "configuration: another network was put there, or it was exported with another "
                f"configuration; `snakemake export --forcerun {rule}` makes it anew"
            )


def reason(error: Exception) -> str:
    """What went wrong, in one line: PyTorch's messages go on with where, and with advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = next((line for line in lines if re.match(r"[\w.]*Error: ", line)), None)
    text = (found or next(iter(lines), type(error).__name__)).removeprefix("builtins.")
    # Which line of PyTorch's source noticed it.
    text = re.sub(r"^\[enforce fail at [^\]]*\] ?\. ", "", text)
    return text.partition(". ")[0]


class ModelFileError(ValueError):
    """A model file that is missing, corrupt or of another kind."""


class StageError(RuntimeError):
    """A network that failed on an event; the message names its file."""


def make_building(parameters: dict[str, Any], device: str) -> StageFunction:
    """Gives the edge building function with the radius and ``k_max`` of ``parameters``."""
    from exatrkx_service.pipeline.building import (
        build_edges,
        compiled_build_edges,
        edges_of_events,
    )

    radius, k_max = float(parameters["radius"]), int(parameters["k_max"])
    if device == "cpu" and (library := parameters.get("kernel_library")):
        kernels.load(library)

        def compiled(embedding: Any, event_sizes: Any = None) -> Any:
            sizes = None if event_sizes is None else to_tensor(event_sizes, device)
            return compiled_build_edges(to_tensor(embedding, device), radius, k_max, sizes)

        return compiled

    def build(embedding: np.ndarray) -> np.ndarray:
        return build_edges(embedding, radius, k_max, device)

    def build_all(embedding: Any, event_sizes: Any = None) -> np.ndarray:
        points = to_numpy(embedding)
        sizes = [len(points)] if event_sizes is None else to_numpy(event_sizes)
        return edges_of_events(build, points, np.asarray(sizes)).astype(DTYPES["edges"])

    return build_all


def make_labeling(parameters: dict[str, Any], device: str) -> StageFunction:
    """Gives the labeling function that ``parameters`` name, with its cut."""
    from exatrkx_service.pipeline.labeling import (
        CUT_KEYS,
        compiled_label_tracks,
        label_tracks,
        label_walks,
    )

    name = parameters["labeling"]
    if name not in CUT_KEYS:
        raise ValueError(f"unknown labeling {name!r}; expected one of {', '.join(CUT_KEYS)}")
    label = {"components": label_tracks, "walkthrough": label_walks}[name]
    cut = float(parameters[CUT_KEYS[name]])
    library = parameters.get("kernel_library")
    if device == "cpu" and library and name == "components":
        kernels.load(library)
        return lambda space_points, edges, scores: compiled_label_tracks(
            len(space_points), to_tensor(edges, device), to_tensor(scores, device), cut
        )
    return lambda space_points, edges, scores: label(
        len(space_points), to_numpy(edges), to_numpy(scores), cut
    )


def make_stage(stage: str, model_repository: Path, parameters: dict[str, Any]) -> StageFunction:
    """Makes one stage ready to run here.

    Args:
        stage: its name.
        model_repository: folder that holds ``<stage>/1/model.pt`` for the networks.
        parameters: the ``pipeline`` section of the configuration (device, threads, radius, k_max,
            labeling and its cut; the filter cut lies in the exported filter), with the identity of
            its networks: see ``identity.with_networks``.
    """
    device = devices.resolve(parameters["device"])
    if stage in NETWORKS:
        identity = parameters["networks"][stage]
        library = parameters.get("kernel_library", "")
        return load_scripted(script_path(model_repository, stage), device, identity, library)
    if stage == "building":
        return make_building(parameters, device)
    if stage == "labeling":
        return make_labeling(parameters, device)
    raise ValueError(f"unknown stage {stage!r}; expected one of {', '.join(STAGES)}")
