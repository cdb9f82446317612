"""Operators of torch in C++ for the stages that take the most time on a CPU: ``kernels.cpp``.

They compute what the Python code of ``pipeline.building`` and ``models.networks`` says, which runs
where there is no compiler, on a GPU, and in NVIDIA's container.
"""

from __future__ import annotations

from pathlib import Path


def load(library: str | Path) -> None:
    """Makes the operators known to torch, as ``torch.ops.exatrkx``; again, it does nothing.

    Args:
        library: file of ``compiled.KERNELS``.

    Raises:
        OSError: the library is missing, or was made for another torch.
    """
    import torch

    torch.ops.load_library(str(library))
