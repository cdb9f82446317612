"""The machine and the software that something runs on: recorded beside every result."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

# Distribution and module of each package whose version is recorded.
PACKAGES = {
    "exatrkx-service": "exatrkx_service",
    "torch": "torch",
    "torch-geometric": "torch_geometric",
    "faiss-cpu": "faiss",
    "faiss-gpu": "faiss",
    "faiss-gpu-cu12": "faiss",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "tritonclient": "tritonclient",
    "nvidia-pytriton": "pytriton",
    "grpcio": "grpc",
    "snakemake": "snakemake",
    "pyacts": "acts",
    "pythia8mc": "pythia8mc",
}


def output_of(*command: str) -> str | None:
    """First line that a program prints; None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().split("\n")[0] or None


def describe_machine() -> dict[str, Any]:
    """CPU, cores (those this process may use), memory [GiB], GPU and its driver, system.

    None for what is unknown or not there.
    """
    query = ("nvidia-smi", "--format=csv,noheader")
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": output_of(*query, "--query-gpu=name"),
        "gpu_driver": output_of(*query, "--query-gpu=driver_version"),
        "system": platform.platform(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def describe_software() -> dict[str, str]:
    """Version of Python and of each of ``PACKAGES`` that is there, as it is imported here.

    What is imported can be another than what is installed. A module from outside its distribution's
    folder is named with its file.
    """
    found = {name: version(name, module) for name, module in PACKAGES.items()}
    return {"python": platform.python_version()} | {k: v for k, v in found.items() if v}


def version(name: str, module: str) -> str | None:
    """Version of a distribution, as its module is imported here; None if it is not installed."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    file = module_file(module)
    if file is None:
        return None
    loaded = getattr(sys.modules.get(module), "__version__", None)
    files = distribution.files or ()
    # An editable installation has its code elsewhere, and says where.
    editable = distribution.read_text("direct_url.json") is not None
    if editable or any(Path(distribution.locate_file(f)).resolve() == file for f in files):
        return loaded if isinstance(loaded, str) else distribution.version
    return f"{loaded or 'of unknown version'} from {file}"


def module_file(module: str) -> Path | None:
    """The file that a module is, or would be, loaded from; None if there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin not in (None, "built-in", "frozen"):
        return Path(spec.origin).resolve()
    places = list(spec.submodule_search_locations or ())  # a namespace has no file of its own
    return Path(places[0]).resolve() if places else None


def describe_commit(root: Path) -> dict[str, str | None]:
    """The git commit of a checkout.

    Args:
        root: its folder.

    Returns:
        ``git_commit``, with ``-dirty`` where tracked files were changed, and
        ``git_commit_unknown``: why it is not known, else None.
    """
    # Git refuses to speak of somebody else's checkout unless it is told to. Whose code this is has
    # been decided already: it runs.
    git = ("git", "-c", f"safe.directory={root}", "-C", str(root))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        top, commit = (
            subprocess.run(
                [*git, *arguments],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
                env=environment,
            ).stdout.strip()
            for arguments in (
                ("rev-parse", "--show-toplevel"),
                ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
            )
        )
    except FileNotFoundError:
        return {"git_commit": None, "git_commit_unknown": "there is no program git"}
    except subprocess.TimeoutExpired:
        return {"git_commit": None, "git_commit_unknown": "git did not answer"}
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or f"git ended with code {error.returncode}").split("\n")[0]
        return {"git_commit": None, "git_commit_unknown": reason}
    if Path(top).resolve() != root.resolve():
        reason = f"{root} is no checkout of its own but lies in {top}"
        return {"git_commit": None, "git_commit_unknown": reason}
    return {"git_commit": commit, "git_commit_unknown": None}
