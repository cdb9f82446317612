"""Where the stages compute, and with how many threads."""

from __future__ import annotations

import ctypes
import os
import warnings
from typing import Any

from exatrkx_service import environment

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def resolve(device: str) -> str:
    """Turns the configured device (``auto``, ``cpu`` or ``cuda``) into ``cpu`` or ``cuda``.

    With ``auto`` it is the GPU if both torch and faiss see one; a warning tells if only torch does.

    Raises:
        RuntimeError: a GPU was asked for, and torch or faiss sees none.
    """
    if device == "cpu":
        return "cpu"
    import torch

    missing = "torch sees no GPU"
    if torch.cuda.is_available():
        import faiss

        if faiss.get_num_gpus():
            return "cuda"
        missing = "only torch sees a GPU: faiss-gpu has to take the place of faiss-cpu"
        warnings.warn(f"pipeline.device: {device}, but {missing}", stacklevel=2)
    if device == "cuda":
        raise RuntimeError(f"pipeline.device: cuda, but {missing}; use cpu or auto")
    return "cpu"


def make_repeatable() -> None:
    """Makes the networks give the same bits for the same event on a GPU, every time.

    Otherwise sums over edges are added in the order in which the GPU's threads come, and
    TorchScript fuses kernels after a network's first calls: edges close to a cut would fall on
    either side of it, and the options would not give the same tracks.
    """
    import torch

    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads such memory
    torch._C._jit_set_texpr_fuser_enabled(False)


def settle(threads: int) -> None:
    """Gives this process ``threads`` intra-op threads per stage, and lets it keep freed memory.

    To be called before torch or faiss is imported. By default glibc gives large blocks back to the
    kernel until it has seen a few of that size, so how fast a stage is would depend on what its
    process had done before; the stages run in one process in one service option and in five in
    another. Source: mallopt(3), M_MMAP_THRESHOLD, whose largest value is 32 MiB.
    """
    environment.clean(os.environ)
    environment.pin(os.environ, environment.library_variables(threads))
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**25)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**30)


def place_constants(module: Any, device: str) -> None:
    """Lets TorchScript make its tensors on a device, whatever was there when it was traced.

    ``torch.jit.load`` moves weights; the names of devices in the code stay.

    Args:
        module: a ``torch.jit.ScriptModule`` that has not run yet.
        device: ``cpu`` or ``cuda``.
    """
    for part in module.modules():
        for name in part._c._method_names():
            for node in part._c._get_method(name).graph.findAllNodes("prim::Constant"):
                if str(node.output().type()) == "Device":
                    node.s_("value", "cuda:0" if device == "cuda" else device)
