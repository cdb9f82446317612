"""How the served Python models take tensors from Triton and give them back: by DLPack.

Triton's conversions from and to numpy (``as_numpy``, ``Tensor(name, array)``) know the memory
layout of numpy 1 alone; with numpy 2 they read one number everywhere, and give nothing back.
DLPack does not depend on numpy.
"""

from __future__ import annotations

from typing import Any

import torch
import triton_python_backend_utils as pb_utils
from torch.utils.dlpack import from_dlpack


def has(request: Any, name: str) -> bool:
    """Whether a request has an optional input."""
    return pb_utils.get_input_tensor_by_name(request, name) is not None


def take(request: Any, name: str) -> torch.Tensor:
    """Gives an input of a request, on the device on which Triton has it."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    # A copy, for in Triton's shared memory the numbers lie at odd addresses; numpy and faiss expect
    # them aligned.
    return from_dlpack(tensor.to_dlpack()).clone()


def respond(name: str, array: Any) -> Any:
    """Gives the response that holds one output (a numpy array or tensor) under its name."""
    # Triton checks the strides, also of an empty array; numpy's are 0 there and `contiguous` keeps
    # them. A copy has those that it asks for.
    tensor = torch.as_tensor(array).clone(memory_format=torch.contiguous_format)
    return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(name, tensor)])


def fail(message: str) -> Any:
    """Gives the response of a request that failed."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message))
