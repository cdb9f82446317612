"""Networks that others saved as ONNX: ONNX Runtime runs them, here and wherever they are used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from exatrkx_service.models.network_file import Input, ModelError, ReadNetwork
from exatrkx_service.pipeline import onnx_operator

_DTYPES = {"float": "float32", "double": "float64"}  # as ONNX Runtime calls them; others as numpy


class OnnxNetwork(nn.Module):
    """A network in ONNX, as TorchScript takes it; see ``pipeline.onnx_operator``.

    Args:
        network: the bytes of the file.
    """

    def __init__(self, network: bytes):
        super().__init__()
        self.digest = hashlib.sha256(network).hexdigest()
        content = torch.frombuffer(bytearray(network), dtype=torch.uint8)
        self.register_buffer("network", content)

    def forward(self, features: Tensor, edges: Tensor | None = None) -> Tensor:
        """What the network gives for features (N, columns), and edges (2, E) if it takes them."""
        inputs = [features]
        if edges is not None:
            inputs.append(edges)
        return torch.ops.exatrkx_onnx.run(self.digest, self.network, inputs)


def read(path: Path) -> ReadNetwork:
    """Reads a network.

    Args:
        path: the file.

    Raises:
        ModelError: it is no ONNX, has operators that ONNX Runtime does not know, its weights lie in
            other files, or it gives something else than one tensor.
    """
    try:
        content = path.read_bytes()
        session = onnx_operator.make_session(content)
    except (OSError, RuntimeError, ImportError) as error:
        found = error.strerror if isinstance(error, OSError) else str(error)
        if "xternal" in found:
            found += "; torch.onnx.export keeps the weights inside with external_data=False"
        raise ModelError(f"{path}: expected ONNX, in one file: {found}") from None
    outputs = [f"{tensor.name} ({tensor.type})" for tensor in session.get_outputs()]
    if len(outputs) != 1 or not session.get_outputs()[0].type.startswith("tensor("):
        raise ModelError(f"{path}: gives {', '.join(outputs) or 'nothing'}, expected one tensor")
    inputs = []
    for tensor in session.get_inputs():
        dtype = tensor.type.removeprefix("tensor(").removesuffix(")")
        inputs.append(Input(tensor.name, _DTYPES.get(dtype, dtype), tensor.shape))
    onnx_operator.register()
    return ReadNetwork(
        OnnxNetwork(content), inputs, lambda *given: onnx_operator.run_session(session, given)
    )
