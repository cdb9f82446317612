"""The model repository of one server: the tracked one, with this run's settings put in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from exatrkx_service.options import FUSED, NETWORKS
from exatrkx_service.pipeline.stages import script_path
from exatrkx_service.serving.guard import STUB
from exatrkx_service.serving.scripted import write_scripted


class RepositoryError(ValueError):
    """A model repository that Triton could not serve."""


def read_config(path: Path) -> ModelConfig:
    """Reads a ``config.pbtxt``.

    Raises:
        RepositoryError: the file is missing, or is no model configuration (names the line).
    """
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except FileNotFoundError:
        raise RepositoryError(f"{path}: no such file") from None
    except text_format.ParseError as error:
        raise RepositoryError(f"{path}: expected a Triton model configuration: {error}") from None


def configure(config: ModelConfig, pipeline: Mapping[str, Any]) -> ModelConfig:
    """Puts the settings of the pipeline into a model's configuration.

    Args:
        config: of the model; changed in place.
        pipeline: the ``pipeline`` section of the configuration, see ``identity.with_networks``; all
            of it goes into the parameters of the Python models, and into those of the networks
            ``threads`` as their intra-op threads, and which network it must be.
    """
    if config.HasField("ensemble_scheduling"):
        return config  # an ensemble computes nothing itself
    if config.backend == "pytorch":
        # The key of NVIDIA's LibTorch backend; the Python-based one here reads the same.
        config.parameters["INTRA_OP_THREAD_COUNT"].string_value = str(pipeline["threads"])
        if config.name in NETWORKS:
            identity = json.dumps(pipeline["networks"][config.name])
            config.parameters["identity"].string_value = identity
        config.parameters["kernel_library"].string_value = pipeline.get("kernel_library", "")
        return config
    for key, value in pipeline.items():
        text = json.dumps(value) if isinstance(value, dict) else str(value)
        config.parameters[key].string_value = text
    return config


def instances_of(model: str, instances: int | Mapping[str, int]) -> int:
    """How many instances of a model there are to be.

    Args:
        model: its name.
        instances: ``server.instances``: of each model; or of some, and one of the others.
    """
    return instances if isinstance(instances, int) else instances.get(model, 1)


def place(config: ModelConfig, *, device: str, instances: int | Mapping[str, int]) -> ModelConfig:
    """Says where a model runs.

    Args:
        config: of the model; changed in place.
        device: ``cpu`` or ``cuda``, resolved.
        instances: see ``instances_of``.
    """
    if config.HasField("ensemble_scheduling"):
        return config
    del config.instance_group[:]
    count = instances_of(config.name, instances)
    if device == "cuda":
        # One GPU, named: without a name Triton puts that many instances on each GPU it sees.
        config.instance_group.add(count=count, kind=ModelInstanceGroup.KIND_GPU, gpus=[0])
    else:
        config.instance_group.add(count=count, kind=ModelInstanceGroup.KIND_CPU)
    if config.backend != "pytorch":
        config.parameters["device"].string_value = device
    return config


def batch(config: ModelConfig, batching: Mapping[str, int]) -> ModelConfig:
    """Lets Triton join the requests that wait, for the model of the whole pipeline.

    Args:
        config: of the model; changed in place.
        batching: ``dynamic_batching`` of an option's server: ``max_batch_size`` and
            ``max_queue_delay_us``.
    """
    config.max_batch_size = batching["max_batch_size"]
    delay_us = batching.get("max_queue_delay_us", 0)
    config.dynamic_batching.max_queue_delay_microseconds = delay_us
    for tensor in config.input:
        tensor.allow_ragged_batch = True  # events differ in their sizes
    return config


def export_repository(source: Path, destination: Path, pipeline: Mapping[str, Any]) -> None:
    """Makes a model repository complete, but for the networks: those are exported into it.

    Args:
        source: the tracked model repository.
        destination: gets a folder per model.
        pipeline: see ``configure``. The device is left to the server: KIND_AUTO for the networks,
            ``cpu`` for what is computed in Python.

    Raises:
        RepositoryError: no models in ``source``, or a configuration that cannot be read.
    """
    for path in _configs(source):
        config = configure(read_config(path), dict(pipeline) | {"device": "cpu"})
        version = destination / path.parent.name / "1"
        version.mkdir(parents=True, exist_ok=True)
        (version.parent / "config.pbtxt").write_text(text_format.MessageToString(config))
        for file in (path.parent / "1").glob("*.py"):
            shutil.copyfile(file, version / file.name)


def _configs(repository: Path) -> list[Path]:
    configs = sorted(Path(repository).glob("*/config.pbtxt"))
    if not configs:
        raise RepositoryError(f"{repository}: expected a model repository (<model>/config.pbtxt)")
    return configs


def prepare(
    source: Path,
    destination: Path,
    pipeline: Mapping[str, Any],
    *,
    device: str,
    instances: int | Mapping[str, int],
    scripted: Collection[str] = (),
    batching: Mapping[str, int] | None = None,
) -> Path:
    """Makes the model repository of one server in an empty folder.

    The version folders are links to those of ``source``, the configurations are edited copies.

    Args:
        source: a model repository with the exported networks.
        destination: gets a folder per model.
        pipeline: see ``configure``.
        device: see ``place``.
        instances: see ``instances_of``.
        scripted: models in Python that the native backend is to serve, see ``scripted``.
        batching: see ``batch``; None for a request at a time.

    Returns:
        ``destination``.

    Raises:
        RepositoryError: no models in ``source``, or a configuration that cannot be read.
    """
    for path in _configs(source):
        config = read_config(path)
        model = destination / path.parent.name
        model.mkdir(parents=True)
        if config.name in scripted:
            config.backend, config.platform = "pytorch", "pytorch_libtorch"
            (model / "1").mkdir()
            write_scripted(config.name, source, pipeline, script_path(destination, config.name))
        else:
            (model / "1").symlink_to((path.parent / "1").resolve())
        config = place(configure(config, pipeline), device=device, instances=instances)
        if batching and config.name == FUSED:
            config = batch(config, batching)
        (model / "config.pbtxt").write_text(text_format.MessageToString(config))
    return destination


def install_backends(
    triton: Path, stub: Path, destination: Path, native: Path | None = None
) -> Path:
    """Makes the backend folder of an embedded server.

    Triton's Python backend, with the stub of this interpreter, and the backend ``pytorch`` for the
    networks, ours, for the server binary of nvidia-pytriton has no LibTorch backend.

    Args:
        triton: folder of the server's installation, holding ``backends/python``.
        stub: the ``triton_python_backend_stub`` of this Python version.
        destination: an empty folder.
        native: library of the native backend ``pytorch``; None for the Python-based one.
    """
    # Copies, not links: Triton refuses a library that lies elsewhere.
    python = destination / "python"
    shutil.copytree(triton / "backends" / "python", python, symlinks=False)
    target = python / STUB
    target.unlink(missing_ok=True)
    shutil.copy2(stub, target)
    networks = destination / "pytorch"
    if native is None:
        networks.symlink_to(Path(__file__).parent / "backends" / "pytorch")
    else:
        networks.mkdir()
        shutil.copy2(native, networks)
    return destination
