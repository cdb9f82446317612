"""What is compiled here, in C++, where there is a compiler.

A library is made once for its sources and the torch of an environment, and kept with that
environment. All jobs of a workflow look there, also those on nodes without a compiler.
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
from dataclasses import dataclass
from pathlib import Path

from exatrkx_service.machine import output_of

PACKAGE = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    *("-std=c++20", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"),
    # Square roots need not set errno, nor comparisons raise flags: so they are done many at a time.
    *("-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"),
)
MADE_BY = "compiler.txt"  # beside a library: the first line of its compiler's version


class NotCompiled(RuntimeError):
    """A library that can't be made here; the message says why."""


@dataclass(frozen=True)
class Library:
    """A shared library.

    Attributes:
        name: of its file.
        sources: folder of this package that holds its files, ``*.cpp`` and ``*.h``.
        packages: Python packages whose folder ``include`` has headers that it needs.
        torch: whether it is made against the installed torch.
    """

    name: str
    sources: str
    packages: tuple[str, ...] = ()
    torch: bool = True

    def files(self) -> list[Path]:
        """Its source files."""
        files = (PACKAGE / self.sources).iterdir()
        return sorted(path for path in files if path.suffix in (".cpp", ".h"))

    def arguments(self) -> list[str]:
        """The compiler's arguments, but for the sources and the output.

        Raises:
            NotCompiled: a package that it needs is not installed.
        """
        if not self.torch:
            return [*FLAGS, "-ldl"]
        torch = _folder("torch")
        headers = (
            torch / "include",
            torch / "include" / "torch" / "csrc" / "api" / "include",
            *(_folder(package) / "include" for package in self.packages),
        )
        return [
            *FLAGS,
            *(f"-isystem{path}" for path in headers),
            f"-L{torch / 'lib'}",
            f"-Wl,-rpath,{torch / 'lib'}",
            # Also those of CUDA, where torch has them: nothing here names what is in them.
            "-Wl,--no-as-needed",
            *("-ltorch", "-ltorch_cpu", "-lc10"),
        ]

    def digest(self) -> str:
        """What tells it from others: its sources, how it is compiled, and the torch it is for."""
        # The folder of the sources is not in it: what one checkout has compiled serves all.
        made_with = [*self.arguments(), *([torch_version()] if self.torch else [])]
        digest = hashlib.sha256(json.dumps(made_with).encode())
        for path in self.files():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:16]


# The backend of the networks in the embedded server.
BACKEND = Library("libtriton_pytorch.so", "serving/backends/pytorch/native", ("nlohmann_json",))
# The operators of the stages, for torch in any process.
KERNELS = Library("libexatrkx_kernels.so", "pipeline/kernels")
# What is loaded into the embedded server to keep its traces alive.
TRACES = Library("libexatrkx_traces.so", "serving/traces", torch=False)


def torch_version() -> str:
    """Version of the installed torch, with its build: ``2.13.0+cpu``."""
    return importlib.metadata.version("torch")


def find(library: Library) -> Path | None:
    """The library that was made for this environment; None if it was not."""
    try:
        name = library.digest()
    except NotCompiled:
        return None
    files = (place / name / library.name for place in _places())
    return next((file for file in files if file.is_file()), None)


def make(
    library: Library,
    say: Callable[[str], None] = print,
    check: Callable[[Path], None] = lambda _: None,
) -> Path:
    """Compiles a library, unless that was done before.

    Args:
        library: what to make.
        say: told what is done; the compiler's output goes to the standard output.
        check: called with the library before it is kept; raises NotCompiled if it can't be used.

    Raises:
        NotCompiled: there is no compiler, it fails, or there is no place to keep the library.
    """
    if (file := find(library)) is not None:
        say(f"{library.name} is there: {file}")
        return file
    command = compiler()
    version = output_of(*command, "--version")
    if version is None:
        raise NotCompiled(f"the C++ compiler {shlex.join(command)} does not run")
    problem = NotCompiled(f"no folder to keep {library.name} in")
    for place in _places():
        folder = place / library.digest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as work:
                say(f"compiling {library.name} with {version}")
                sources = [str(path) for path in library.files() if path.suffix == ".cpp"]
                _compile([*command, *sources, *library.arguments()], Path(work) / library.name)
                check(Path(work) / library.name)
                (folder / MADE_BY).write_text(version + "\n")
                (Path(work) / library.name).replace(folder / library.name)
            return folder / library.name
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
            problem = NotCompiled(f"no folder to keep {library.name} in: {reason}")
        except NotCompiled as error:  # nothing may be executed in that folder, for one
            problem = error
    raise problem


def make_kernels(wanted: str) -> str:
    """Compiles the operators of the stages, if they are wanted.

    Args:
        wanted: ``pipeline.kernels``: ``auto``, ``compiled`` or ``torch``.

    Returns:
        What computes the stages, in words.

    Raises:
        NotCompiled: ``compiled`` is wanted, and they can't be had.
    """
    if wanted == "torch":
        return describe_kernels("", "pipeline.kernels: torch")
    try:
        return describe_kernels(str(make(KERNELS, print, _check_kernels)))
    except NotCompiled as error:
        if wanted == "compiled":
            raise NotCompiled(f"pipeline.kernels: compiled: {error}") from None
        return describe_kernels("", str(error))


def kernel_library(wanted: str) -> str:
    """File of the operators that the stages use; empty for what torch and faiss have.

    Args:
        wanted: ``pipeline.kernels``; the operators are those that ``make_kernels`` has made.

    Raises:
        NotCompiled: ``compiled`` is wanted, and they are not there.
    """
    library = None if wanted == "torch" else find(KERNELS)
    if wanted == "compiled" and library is None:
        raise NotCompiled(
            "pipeline.kernels: compiled: the operators are not there for the installed torch; "
            "`snakemake export --forcerun compile_libraries` makes them"
        )
    return str(library or "")


def describe_kernels(library: str, reason: str = "") -> str:
    """What computes the stages, in words.

    Args:
        library: file of the operators; empty for none.
        reason: why there is none.
    """
    if library:
        return f"compiled for torch {torch_version()} by {made_by(Path(library))}"
    return "those of torch, faiss and scipy" + (f" ({reason})" if reason else "")


def _check_kernels(file: Path) -> None:
    """Raises NotCompiled if torch can't load the operators; in a process of their own."""
    load_alone("import ctypes, sys, torch; ctypes.CDLL(sys.argv[1])", file)


def load_alone(code: str, *files: Path, library_path: str = "") -> None:
    """Loads libraries in another process.

    Args:
        code: Python code that does it, with the files as arguments.
        files: the libraries.
        library_path: where else theirs are.

    Raises:
        NotCompiled: they can't be loaded.
    """
    environment = {**os.environ, **({"LD_LIBRARY_PATH": library_path} if library_path else {})}
    command = [sys.executable, "-c", code, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        raise NotCompiled(f"what was compiled can't be loaded: {lines[-1]}")


def made_by(file: Path) -> str:
    """The compiler of a library, as it says itself."""
    return (file.parent / MADE_BY).read_text().strip()


def compiler() -> list[str]:
    """The C++ compiler of the environment variable CXX, or the first that there is.

    Raises:
        NotCompiled: there is none.
    """
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


def _folder(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise NotCompiled(f"the Python package {module} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _compile(command: list[str], file: Path) -> None:
    done = subprocess.run(
        [*command, "-o", str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(file.parent)},
    )
    print(done.stderr, end="")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        first = next((line for line in lines if "error" in line), lines[-1])
        raise NotCompiled(f"{command[0]} fails: {first}")
