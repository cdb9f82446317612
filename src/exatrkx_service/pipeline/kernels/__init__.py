"""Operators of torch in C++ for what takes the most time on a CPU.

They compute what ``pipeline.building``, ``pipeline.labeling`` and ``models.networks`` say, which
runs where there is no compiler, on a GPU, and in NVIDIA's container.
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
