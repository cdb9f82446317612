"""A Python-based Triton backend named ``pytorch``: serves TorchScript as the LibTorch one does.

It reads the same ``config.pbtxt`` and the same ``1/model.pt``. As in the LibTorch backend, the
inputs go to ``forward`` in the order of the configuration, and the parameter
INTRA_OP_THREAD_COUNT sets the number of threads.
"""

import json
from pathlib import Path

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
        """Runs the model on each request."""
        # Not before `initialize` has set the number of threads, for this imports torch.
        from exatrkx_service.serving.exchange import respond, take

        responses = []
        for request in requests:
            output = self.run(*(take(request, name) for name in self.inputs))
            responses.append(respond(**{self.output: output}))
        return responses
