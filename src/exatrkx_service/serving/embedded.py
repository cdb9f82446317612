"""The tritonserver binary that the nvidia-pytriton package ships."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

from exatrkx_service.compiled import TRACES, NotCompiled, make
from exatrkx_service.environment import cleaned, pin
from exatrkx_service.serving.guard import STUB
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.repository import install_backends


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


def python_stub() -> Path:
    """The program that runs Python models, for this interpreter; of Triton 24.10.

    Raises:
        ServerError: there is none for this version of Python.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton_folder() / "python_backend_stubs" / version / STUB
    if not stub.is_file():
        raise ServerError(f"{stub}: no Python backend stub for this Python ({version})")
    return stub


def libraries() -> Path:
    """Folder of the server's shared libraries, with its own, libtritonserver."""
    return triton_folder().parents[1] / "nvidia_pytriton.libs"


def library_path() -> str:
    """Where the stub finds its libraries: libpython may not be on the system's path."""
    return f"{libraries()}:{sysconfig.get_config_var('LIBDIR') or ''}"


def prepare(work: Path, native: Path | None) -> list[str]:
    """Makes the backend folder in ``work``; gives the program and the arguments of its own.

    Args:
        work: the server's folder.
        native: library of the native backend for the networks; None for the Python-based one.
    """
    triton = triton_folder()
    install_backends(triton, python_stub(), work / "backends", native)
    return [str(triton / "bin" / "tritonserver"), f"--backend-directory={work / 'backends'}"]


def trace_keeper(say: Callable[[str], None] = lambda _: None) -> str:
    """The library without which a server that traces can die; empty where there is no compiler.

    Triton 24.10 frees a trace while it holds the lock in it (triton-inference-server/server, issue
    7795, mended in 25.04); see ``traces/keep.cpp``.

    Args:
        say: told what is done.
    """
    try:
        return str(make(TRACES, say))
    except NotCompiled as error:
        say(f"the server may die while it traces: {error}")
        return ""


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server, with these variables in it."""
    environment = cleaned(os.environ)
    pin(environment, variables)
    preloaded = f"{trace_keeper()} {os.environ.get('LD_PRELOAD', '')}".strip()
    return {
        **environment,
        # Those of this machine last: its driver or CUDA may lie there.
        "LD_LIBRARY_PATH": f"{library_path()}:{os.environ.get('LD_LIBRARY_PATH', '')}".rstrip(":"),
        **({"LD_PRELOAD": preloaded} if preloaded else {}),
        # By this the stub finds the packages of this Python; it does not read PYTHONPATH.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
