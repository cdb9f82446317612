"""Networks in ONNX as an operator of torch: TorchScript calls it, ONNX Runtime computes.

So such a network is exported, loaded and called as any other, on the client and in Python models of
the server, by the same library with the same number of threads. It is an operator in Python: a
process without, as LibTorch in a container, can't run it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_NAME = "exatrkx_onnx::run"
_OTHER_FILES = "session.model_external_initializers_file_folder_path"


@functools.cache
def register() -> None:
    """Makes ``torch.ops.exatrkx_onnx.run`` known: the answer of a network to its inputs.

    Its arguments are the digest of the network (str, no two with the same), the network (uint8
    tensor, the bytes of the ONNX file) and its inputs (tensors, in the order of the file).
    """
    sessions: dict[str, Any] = {}

    def run(digest: str, network: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        if digest not in sessions:
            sessions[digest] = make_session(network.cpu().numpy().tobytes())
        return run_session(sessions[digest], inputs)

    torch.library.define(_NAME, "(str digest, Tensor network, Tensor[] inputs) -> Tensor")
    torch.library.impl(_NAME, "default", run)


def make_session(network: bytes) -> Any:
    """An ``onnxruntime.InferenceSession`` of a network, with as many threads as torch has here.

    Raises:
        RuntimeError: ONNX Runtime can't use it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    # Threads that wait for work take no time from whatever is measured besides.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Numbers in other files, named in this one, are not taken from wherever the process works.
    options.add_session_config_entry(_OTHER_FILES, "/dev/null")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(network, options, ["CPUExecutionProvider"])
    except Exception as error:  # its classes have no other base
        raise RuntimeError(_reason(error)) from None


def run_session(session: Any, inputs: Sequence[Tensor]) -> Tensor:
    """The one output of a session, on the device of the inputs; it computes on the CPU.

    Raises:
        RuntimeError: it does not run on these.
    """
    names = [tensor.name for tensor in session.get_inputs()]
    arrays = [tensor.detach().cpu().numpy() for tensor in inputs]
    try:
        answer = session.run(None, dict(zip(names, arrays, strict=True)))[0]
    except Exception as error:  # its classes have no other base
        raise RuntimeError(_reason(error)) from None
    return torch.from_numpy(answer).to(inputs[0].device)


def _reason(error: Exception) -> str:
    """What ONNX Runtime says, in one line: ``[ONNXRuntimeError] : 10 : INVALID_GRAPH : what``.

    What may begin with a place in its source: file, line and function.
    """
    what = " ".join(str(error).split()).rpartition(" : ")[2]
    return re.sub(r"^/\S+:\d+ \S.*?\(.*?\) (?=[A-Z])", "", what)
