"""What was measured with what: recorded beside every job's samples."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    *("exatrkx-service", "torch", "torch-geometric", "faiss-cpu", "faiss-gpu", "faiss-gpu-cu12"),
    *(
        "numpy",
        "scipy",
        "tritonclient",
        "nvidia-pytriton",
        "grpcio",
        "snakemake",
        "pyacts",
        "pythia8mc",
    ),
)


# What decides how a stage is run and timed, and what it finds.
CODE = ("options.py", "pipeline", "client", "serving", "measure")
# What decides the same for the CKF.
CKF_CODE = ("baseline", "events")


def code_digest(parts: Collection[str]) -> str:
    """SHA-256 of the code that a rule's outputs depend on.

    Args:
        parts: names of files and folders of this package.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] in parts:
            digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _output(*command: str) -> str | None:
    """First line a program prints; None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().split("\n")[0] or None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def collect(root: Path) -> dict[str, Any]:
    """Describes the machine and the software.

    Args:
        root: folder of the git checkout of the workflow.

    Returns:
        ``machine`` (CPU, cores, memory [GiB], GPU and driver), ``software`` (versions) and
        ``git_commit``, with ``-dirty`` where tracked files were changed; None for what is unknown.
    """
    git = ("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40")
    return {
        "git_commit": _output(*git, "--exclude=*"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "gpu": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
            "gpu_driver": _output(
                "nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"
            ),
            "system": platform.platform(),
        },
        "software": {"python": platform.python_version()}
        | {package: _version(package) for package in PACKAGES if _version(package)},
    }
