"""The container launchers, as far as they go without the containers' programs."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS
from exatrkx_service.serving import container, embedded
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.process import PACKAGES
from exatrkx_service.serving.repository import STUB, prepare
from exatrkx_service.serving.server import ServerError

IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"


def make_program(folder: Path, name: str, script: str = "exit 1") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder at the beginning of PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("launcher", container.LAUNCHERS)
def test_a_missing_program_names_the_alternative(
    repository, settings, config, tmp_path, monkeypatch, launcher
):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings["launcher"] = launcher
    with (
        pytest.raises(
            ServerError,
            match=rf"{launcher} needs the program {launcher}.*server.launcher: embedded",
        ),
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]),
    ):
        pass


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("launcher", "begin", "gpu", "image"),
    [
        ("apptainer", ["exec", f"--pwd={PACKAGES}"], "--nv", f"docker://{IMAGE}"),
        ("podman-hpc", ["run", "--rm", "--network=host", "--ipc=host"], "--gpu", IMAGE),
        ("shifter", [f"--image={IMAGE}", f"--workdir={PACKAGES}"], "--module=gpu", None),
    ],
)
def test_the_command_line(
    repository, config, tmp_path, programs, monkeypatch, launcher, begin, gpu, image, device
):
    make_program(programs, launcher)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/this/machine")
    work = tmp_path / "w"
    prepare(repository, work / "models", config["pipeline"], device=device, instances=1)
    command = container.prepare(
        launcher, IMAGE, repository, work, device=device, variables={"X": "3"}
    )
    assert command[: len(begin) + 1] == [str(programs / launcher), *begin]
    assert (gpu in command) == (device == "cuda")
    if image:
        assert command[command.index("env") - 1] == image
        # The folders lie at the same place inside: the repository's links hold there.
        places = [x.split("=")[1].split(":")[0] for x in command if ":r" in x]
        for path in (repository, sys.prefix, embedded.triton_folder().parents[1]):
            places = [
                argument.split("=")[1].split(":")[0] for argument in command if ":r" in argument
            ]
            assert any(Path(path).resolve().is_relative_to(Path(p).resolve()) for p in places), path
    assert any(f"{work}:{work}" in argument for argument in command)
    assert "X=3" in command and command[-1] == "tritonserver"
    # This machine's libraries are not the container's.
    assert not any("/of/this/machine" in argument for argument in command)
    # Python models run in this environment, whose interpreter has a stub; networks need none.
    stubs = {path.parent.name for path in (work / "models").glob(f"*/{STUB}")}
    assert stubs == {"building", "labeling", "pipeline", "null_model"}


def test_a_file_is_an_image_too(repository, config, tmp_path, programs):
    make_program(programs, "apptainer")
    image = tmp_path / "triton.sif"
    image.touch()
    command = container.prepare(
        "apptainer", str(image), repository, tmp_path / "w", device="cpu", variables={}
    )
    assert command[command.index("env") - 1] == str(image)


def test_what_runs_inside(repository, settings, config, tmp_path, programs):
    """All but the container: its program is replaced by one that runs the rest of the line here.

    The Triton in its place has the Python backend alone, with a stub for another Python.
    """
    triton = embedded.triton_folder()
    backend = shutil.copytree(triton / "backends" / "python", tmp_path / "backends" / "python")
    shutil.copy2(triton / "python_backend_stubs" / "3.10" / STUB, backend / STUB)
    make_program(programs, "apptainer", 'until [ "$1" = env ]; do shift; done; exec "$@"')
    make_program(
        programs,
        "tritonserver",
        f'exec {triton}/bin/tritonserver --backend-directory={tmp_path}/backends "$@"',
    )
    settings["launcher"] = "apptainer"
    with launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server:
        client = Client(server.grpc_url, "grpc", 20)
        step = RemoteStep(client, "labeling", "labeling", SPECS["labeling"].inputs, "labels")
        tensors = {
            "space_points": np.zeros((3, 3), np.float32),
            "filtered_edges": np.array([[0], [2]]),
            "edge_scores": np.ones(1, np.float32),
        }
        step(tensors, Stopwatch(), "x")
        client.close()
    assert tensors["labels"].tolist() == [0, -1, 0]
    assert server.trace.is_file()
