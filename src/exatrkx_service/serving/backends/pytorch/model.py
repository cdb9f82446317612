"""A Python-based Triton backend named ``pytorch``: serves TorchScript as the LibTorch one does.

It reads the same ``config.pbtxt`` and the same ``1/model.pt``. As in the LibTorch backend, the
inputs go to ``forward`` in the order of the configuration, and the parameter
INTRA_OP_THREAD_COUNT sets the number of threads.
"""

import json
from pathlib import Path

import triton_python_backend_utils as pb_utils

from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.stages import load_scripted


class TritonPythonModel:
    """One instance of a TorchScript model."""

    def initialize(self, args: dict) -> None:
        """Loads the model onto the instance's device."""
        config = json.loads(args["model_config"])
        threads = config["parameters"].get("INTRA_OP_THREAD_COUNT", {"string_value": "1"})
        devices.limit_threads(int(threads["string_value"]))
        device = "cuda" if args["model_instance_kind"] == "GPU" else "cpu"
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.output = config["output"][0]["name"]
        path = Path(args["model_repository"]) / args["model_version"] / "model.pt"
        self.run = load_scripted(path, device)

    def execute(self, requests: list) -> list:
        """Runs the model on each request; inputs and outputs are passed without a copy."""
        from torch.utils.dlpack import from_dlpack

        responses = []
        for request in requests:
            tensors = [pb_utils.get_input_tensor_by_name(request, name) for name in self.inputs]
            output = self.run(*(from_dlpack(tensor.to_dlpack()) for tensor in tensors))
            output = pb_utils.Tensor.from_dlpack(self.output, output.contiguous())
            responses.append(pb_utils.InferenceResponse([output]))
        return responses
