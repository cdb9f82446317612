"""NVIDIA's Triton container, run by Apptainer, Podman-HPC or Shifter.

The container brings tritonserver and its LibTorch backend, which serves the networks. Its Python
has none of the packages that the stages ``building`` and ``labeling`` need, so Python models run in
the environment that this process runs in, which is mounted at the same place; the program for that
(Triton's "stub") is that of nvidia-pytriton, which is of the same release as the container.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from exatrkx_service.serving import embedded
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.process import PACKAGES
from exatrkx_service.serving.repository import STUB

LAUNCHERS = ("apptainer", "podman-hpc", "shifter")


def mounts(model_repository: Path, work: Path) -> dict[Path, str]:
    """The folders that the container must see, at the same place as here; ``ro`` or ``rw``."""
    read = (
        model_repository.resolve(),
        PACKAGES,
        Path(sys.prefix),
        Path(sys.base_prefix),
    )
    return {**dict.fromkeys(read, "ro"), work.resolve(): "rw"}


def program(launcher: str) -> str:
    """The program of a container launcher.

    Raises:
        ServerError: it is not there; names the alternative.
    """
    path = shutil.which(launcher)
    if path is None:
        raise ServerError(
            f"server.launcher: {launcher} needs the program {launcher}, which is not on PATH here; "
            "expected a machine that has it, or server.launcher: embedded, which needs no container"
        )
    return path


def prepare(
    launcher: str,
    image: str,
    model_repository: Path,
    work: Path,
    *,
    device: str,
    variables: Mapping[str, str],
) -> list[str]:
    """Puts the stub beside the Python models; gives the command line up to Triton's arguments.

    Args:
        launcher: one of ``LAUNCHERS``.
        image: the container: a name in a registry, or for Apptainer also a file.
        model_repository: the tracked model repository.
        work: the server's folder; its ``models`` are there.
        device: ``cuda`` passes the GPUs on.
        variables: of the environment inside.

    Raises:
        ServerError: the launcher's program is not there.
    """
    start = program(launcher)
    stub = embedded.python_stub()
    for model in (work / "models").glob("*/1/model.py"):
        (model.parents[1] / STUB).symlink_to(stub)  # the folder may forbid to execute files
    binds = mounts(model_repository, work)
    gpus = device == "cuda"
    if launcher == "apptainer":
        command = [start, "exec", f"--pwd={PACKAGES}", *(["--nv"] if gpus else [])]
        command += [f"--bind={path}:{path}:{mode}" for path, mode in binds.items()]
        local = "://" in image or Path(image).exists()
        command.append(image if local else f"docker://{image}")
    elif launcher == "podman-hpc":
        # The network and the shared memory of the host: clients connect to its loopback interface.
        command = [start, "run", "--rm", "--network=host", "--ipc=host", f"--workdir={PACKAGES}"]
        command += [*(["--gpu"] if gpus else []), "--entrypoint="]
        command += [f"--volume={path}:{path}:{mode}" for path, mode in binds.items()]
        command.append(image)
    else:
        # Shifter shows the site's file systems by itself, and the GPUs with its module.
        command = [
            start,
            f"--image={image}",
            f"--workdir={PACKAGES}",
            *(["--module=gpu"] if gpus else []),
        ]
        command.append(f"--volume={work.resolve()}:{work.resolve()}")
    return [*command, *_inside(variables)]


def _inside(variables: Mapping[str, str]) -> Sequence[str]:
    # This environment's Python first, so that the stub finds its modules; the container's own
    # libraries first: those of the stub are for what it lacks.
    script = (
        'export PATH="$0:$PATH" LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$1"; '
        'shift; exec "$@"'
    )
    settings = [f"{name}={value}" for name, value in variables.items()]
    paths = [str(Path(sys.executable).parent), embedded.library_path()]
    return ["env", *settings, "sh", "-c", script, *paths, "tritonserver"]
