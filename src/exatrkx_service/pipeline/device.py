"""Where the stages compute, and with how many threads."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def resolve(device: str) -> str:
    """Turns the configured device (``auto``, ``cpu`` or ``cuda``) into ``cpu`` or ``cuda``.

    Raises:
        RuntimeError: a GPU was asked for and torch sees none.
    """
    if device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise RuntimeError("pipeline.device: cuda, but torch sees no GPU; use cpu or auto")
    return "cpu"


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables that give every numerical library ``threads`` intra-op threads.

    The libraries read them when they are loaded, so they must be set before torch or faiss is
    imported; the client and the server get the same ones.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: str(threads) for name in names}


def settle(threads: int) -> None:
    """Gives this process ``threads`` intra-op threads per stage, and lets it keep freed memory.

    To be called before torch or faiss is imported. By default glibc gives large blocks back to the
    kernel until it has seen a few of that size, so how fast a stage is would depend on what its
    process had done before; the stages run in one process in one service option and in five in
    another. Source: mallopt(3), M_MMAP_THRESHOLD, whose largest value is 32 MiB.
    """
    os.environ.update(thread_environment(threads))
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**25)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
