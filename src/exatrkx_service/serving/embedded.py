"""Launches the tritonserver binary that the nvidia-pytriton package ships."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import secrets
import socket
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

import tenacity
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from exatrkx_service.pipeline import device as devices
from exatrkx_service.serving import journal
from exatrkx_service.serving.process import guarded_process
from exatrkx_service.serving.repository import install_backends, prepare

LOOPBACK = "127.0.0.1"


class ServerError(RuntimeError):
    """The server did not start, or ended when it should not have."""


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        grpc_url, http_url: ``host:port``.
        version: of the server, as it says itself.
        process: the guard of the server's process; it ends when the server does.
        log: its output.
        trace: file with the time stamps of each request; complete once the server has ended.
        journals: folder with the notes of the served models; likewise.
    """

    grpc_url: str
    http_url: str
    version: str
    process: Popen
    log: Path
    trace: Path
    journals: Path

    def check_alive(self, wait_s: float = 0) -> None:
        """Raises ServerError, with the end of the server's log, if the server has ended.

        Args:
            wait_s: how long to wait for its end: a request fails a moment before that shows [s].
        """
        with contextlib.suppress(TimeoutExpired):
            code = self.process.wait(wait_s)
            raise ServerError(f"the server ended with code {code}; {_tail(self.log)}")


def _tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return f"the end of its log {log}:\n  " + "\n  ".join(text)


def triton_folder() -> Path:
    """Folder of the server in nvidia-pytriton.

    Raises:
        ServerError: the package, or the binary in it, is not there.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServerError(
            "server.launcher: embedded needs the Python package nvidia-pytriton, "
            "which is not installed"
        )
    folder = Path(spec.origin).parent / "tritonserver"
    binary = folder / "bin" / "tritonserver"
    if not os.access(binary, os.X_OK):
        raise ServerError(f"{binary}: no such executable; expected it in nvidia-pytriton")
    return folder


def _check_free(ports: Mapping[str, int]) -> None:
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise ServerError(
                    f"server.ports.{name}: port {port} on {LOOPBACK} is taken ({error.strerror}); "
                    "give another, or leave server.ports out to take free ones"
                ) from None


def free_ports() -> dict[str, int]:
    """Three free ports on the loopback interface, for HTTP, gRPC and metrics."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        numbers = [one.getsockname()[1] for one in sockets]
    return dict(zip(("http", "grpc", "metrics"), numbers, strict=True))


def _command(
    triton: Path,
    work: Path,
    models: Sequence[str],
    ports: Mapping[str, int],
    region: str,
    stop_timeout_s: float,
) -> list[str]:
    command = [
        str(triton / "bin" / "tritonserver"),
        f"--model-repository={work / 'models'}",
        f"--backend-directory={work / 'backends'}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        # Every request is traced: the parts of each event come from its own time stamps.
        f"--trace-config=triton,file={work / 'trace.json'}",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=1",
        "--trace-config=count=-1",
        # A name of our own for the shared memory of the Python models, so that the guard can remove
        # it if the server is killed.
        f"--backend-config=python,shm-region-prefix-name={region}",
        # Not less than the guard gives it: a server that gives up on its models writes no trace.
        f"--exit-timeout-secs={math.ceil(stop_timeout_s)}",
    ]
    for name, port in ports.items():
        command += [f"--{name}-address={LOOPBACK}", f"--{name}-port={port}"]
    return command


def _environment(triton: Path, threads: int, journals: Path) -> dict[str, str]:
    packages = triton.parents[1]
    return {
        **os.environ,
        **devices.thread_environment(threads),
        journal.FOLDER: str(journals),
        # The second is for the stub's libpython, which may not be on the system's path.
        "LD_LIBRARY_PATH": ":".join(
            [str(packages / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR") or ""]
        ),
        # By this the stub finds the packages of this Python; it does not read PYTHONPATH.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def _wait_ready(
    process: Popen, ports: Mapping[str, int], models: Sequence[str], log: Path, timeout_s: float
) -> str:
    """Waits until the server, its models and all its ports are ready; gives its version."""

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(InferenceServerException),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(timeout_s),
        reraise=True,
    )
    def ask() -> str:
        code = process.poll()
        if code is not None:
            raise ServerError(f"the server ended with code {code} at start; {_tail(log)}")
        with grpcclient.InferenceServerClient(f"{LOOPBACK}:{ports['grpc']}") as client:
            for model in models:
                if not client.is_model_ready(model):
                    raise InferenceServerException(f"model {model} is not ready")
            version = client.get_server_metadata().version
        # Triton opens the gRPC port first; HTTP and metrics may come a moment later.
        for name, port in ports.items():
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, port)) != 0:
                    raise InferenceServerException(f"the {name} port is not open")
        return version

    try:
        return ask()
    except InferenceServerException as error:
        raise ServerError(
            f"the server was not ready within server.start_timeout_s = {timeout_s:g} s "
            f"({error.message()}); {_tail(log)}"
        ) from None


@contextlib.contextmanager
def launch(
    model_repository: Path,
    models: Sequence[str],
    work: Path,
    settings: Mapping[str, Any],
    pipeline: Mapping[str, Any],
) -> Iterator[Server]:
    """Runs a server for as long as the block lasts.

    Args:
        model_repository: the tracked model repository, with the exported networks.
        models: names of the models to load, no others are.
        work: an empty folder for the server's repository, backends, log and trace; without spaces
            in its path.
        settings: the ``server`` section of the configuration.
        pipeline: its ``pipeline`` section.

    Raises:
        ServerError: the work folder's path has a space, the server is missing, a port is taken, it
            is not ready in time, or it died and so a request in the block failed; the message holds
            the end of its log.
    """
    if " " in str(work):  # Triton gives the paths in it to a shell as they are
        raise ServerError(
            f"{work}: the server can't work in a folder whose path has a space; "
            "set TMPDIR to one without"
        )
    triton = triton_folder()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise ServerError(f"{stub}: no Python backend stub for this Python ({version})")
    device = devices.resolve(pipeline["device"])
    journals = work / "journals"
    journals.mkdir(parents=True)
    prepare(
        model_repository, work / "models", pipeline, device=device, instances=settings["instances"]
    )
    install_backends(triton, stub, work / "backends")
    ports = settings.get("ports") or free_ports()
    _check_free(ports)
    region = f"exatrkx_{secrets.token_hex(6)}_"
    log = work / "server.log"
    with guarded_process(
        _command(triton, work, models, ports, region, settings["stop_timeout_s"]),
        _environment(triton, pipeline["threads"], journals),
        log,
        region=region,
        stop_timeout_s=settings["stop_timeout_s"],
    ) as process:
        version = _wait_ready(process, ports, models, log, settings["start_timeout_s"])
        server = Server(
            grpc_url=f"{LOOPBACK}:{ports['grpc']}",
            http_url=f"{LOOPBACK}:{ports['http']}",
            version=version,
            process=process,
            log=log,
            trace=work / "trace.json",
            journals=journals,
        )
        try:
            yield server
        except InferenceServerException:
            server.check_alive(wait_s=2)  # that it died explains more than that a request failed
            raise
