"""The backend that serves the networks in the server's own process, compiled here.

The server of nvidia-pytriton has no LibTorch backend, but its library exports the interface of
one. ``backends/pytorch/native`` is one in C++, against the libraries of the installed torch; where
no compiler is found the Python-based backend beside it serves the networks. Which one it is, is
decided once for a model repository and stands in it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from exatrkx_service.machine import output_of
from exatrkx_service.serving import embedded
from exatrkx_service.serving.health import ServerError

CHOICE = "backend.json"  # in a model repository: what serves its networks
LIBRARY = "libtriton_pytorch.so"
SOURCES = Path(__file__).parent / "backends" / "pytorch" / "native"
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")
# Loads a library as the server would, with all that it asks for.
_LOAD = "import ctypes, sys; [ctypes.CDLL(name, ctypes.RTLD_GLOBAL) for name in sys.argv[1:]]"


class NotCompiled(ServerError):
    """The native backend can't be made here; the message says why."""


def choose_backend(
    destination: Path, wanted: str, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Decides what serves the networks of the embedded server, and compiles it if need be.

    Args:
        destination: JSON file that gets the decision, ``CHOICE`` in a model repository.
        wanted: ``server.backend``: ``auto``, ``native`` or ``python``.
        say: told what is done.

    Returns:
        ``backend``: ``native`` or ``python``; of the first also ``library``, its file, and
        ``compiler`` and ``torch``, what it was made with; of the other ``reason``.

    Raises:
        NotCompiled: ``native`` is wanted, and can't be had.
    """
    if wanted == "python":
        choice = {"backend": "python", "reason": "server.backend: python"}
    else:
        try:
            choice = {"backend": "native"} | _library(say)
        except NotCompiled as error:
            if wanted == "native":
                raise NotCompiled(f"server.backend: native: {error}") from None
            choice = {"backend": "python", "reason": str(error)}
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text(json.dumps(choice, indent=1) + "\n")
    return choice


def read_choice(model_repository: Path) -> dict[str, Any]:
    """What was decided for a model repository; the Python-based backend where nothing was.

    Raises:
        ServerError: the library is gone, or was made for another torch.
    """
    path = Path(model_repository) / CHOICE
    if not path.is_file():
        return {"backend": "python", "reason": f"no {CHOICE} in the model repository"}
    choice = json.loads(path.read_text())
    if choice["backend"] == "native":
        again = "`snakemake export --forcerun compile_backend` makes it anew"
        if not Path(choice["library"]).is_file():
            raise ServerError(f"{choice['library']}: no such file, named in {path}; {again}")
        if choice["torch"] != _torch_version():
            raise ServerError(
                f"{path}: the native backend was made for torch {choice['torch']}, installed is "
                f"{_torch_version()}; {again}"
            )
    return choice


def describe(choice: dict[str, Any]) -> str:
    """What serves the networks, in words."""
    if choice["backend"] == "native":
        return f"native backend, of torch {choice['torch']}, by {choice['compiler']}"
    return f"Python-based backend ({choice['reason']})"


def _library(say: Callable[[str], None]) -> dict[str, str]:
    """The library and what it was made with; compiled unless this environment has it already."""
    compiler = _compiler()
    name = output_of(*compiler, "--version")
    if name is None:
        raise NotCompiled(f"the C++ compiler {shlex.join(compiler)} does not run")
    made_with = {"compiler": name, "torch": _torch_version()}
    command = [*compiler, *FLAGS, *_libraries()]
    digest = hashlib.sha256(json.dumps([command, made_with]).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    reason = ""
    for place in _places():
        library = place / digest.hexdigest()[:16] / LIBRARY
        if library.is_file():
            say(f"the native backend is there: {library}")
            return {"library": str(library)} | made_with
    for place in _places():
        library = place / digest.hexdigest()[:16] / LIBRARY
        try:
            library.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=library.parent) as work:
                say(f"compiling the native backend with {name}")
                _compile(command, Path(work) / LIBRARY)
                (Path(work) / LIBRARY).replace(library)
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            continue
        return {"library": str(library)} | made_with
    raise NotCompiled(f"no folder to put the native backend into: {reason}")


def _compiler() -> list[str]:
    """The C++ compiler of the environment variable CXX, or the first that there is."""
    if given := shlex.split(os.environ.get("CXX", "")):
        return given
    for name in COMPILERS:
        if path := shutil.which(name):
            return [path]
    raise NotCompiled(f"there is no C++ compiler: none of {', '.join(COMPILERS)} on PATH")


def _places() -> Iterator[Path]:
    """Where libraries are kept: in this Python environment, or else with the user."""
    yield Path(sys.prefix) / "share" / "exatrkx_service"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exatrkx_service"


def _torch_version() -> str:
    return importlib.metadata.version("torch")


def _folder(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise NotCompiled(f"the Python package {module} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _libraries() -> list[str]:
    """The part of the command line that says where headers and libraries are."""
    torch = _folder("torch")
    headers = (
        torch / "include",
        torch / "include" / "torch" / "csrc" / "api" / "include",
        _folder("nlohmann_json") / "include",
    )
    libraries = ("torch", "torch_cpu", "c10")
    return [
        *(f"-isystem{path}" for path in headers),
        str(SOURCES / "backend.cpp"),
        f"-L{torch / 'lib'}",
        f"-Wl,-rpath,{torch / 'lib'}",
        # Also those of CUDA, where torch has them: nothing here names what is in them.
        "-Wl,--no-as-needed",
        *(f"-l{name}" for name in libraries),
    ]


def _compile(command: list[str], library: Path) -> None:
    """Compiles the backend, and loads it once, with the library of the server.

    Raises:
        NotCompiled: with the first error.
    """
    done = subprocess.run(
        [*command, "-o", str(library)],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(library.parent)},
    )
    print(done.stderr, end="")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        first = next((line for line in lines if "error" in line), lines[-1])
        raise NotCompiled(f"{command[0]} fails: {first}")
    server = next(embedded.libraries().glob("libtritonserver*.so*"), None)
    if server is None:
        raise NotCompiled(f"{embedded.libraries()}: no libtritonserver; expected it there")
    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD, str(server), str(library)],
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": embedded.library_path()},
    )
    if loaded.returncode:
        reason = loaded.stderr.strip().splitlines()[-1]
        raise NotCompiled(f"the compiled backend can't be loaded: {reason}")
