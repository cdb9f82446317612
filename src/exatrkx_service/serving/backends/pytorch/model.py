"""A Python-based Triton backend named ``pytorch``: serves TorchScript as the LibTorch one does.

It reads the same ``config.pbtxt`` and the same ``1/model.pt``. As in the LibTorch backend, the
inputs go to ``forward`` in the order of the configuration, and the parameter
INTRA_OP_THREAD_COUNT sets the number of threads. The parameter ``identity`` says which network is
expected, and ``kernel_library`` which operators are in it, see ``exatrkx_service.identity``.
"""

import json
from pathlib import Path

from exatrkx_service.pipeline.stages import load_scripted
from exatrkx_service.serving.stage_model import ServedModel


class TritonPythonModel(ServedModel):
    """One instance of a TorchScript model."""

    def initialize(self, args: dict) -> None:
        """Loads the model onto the instance's device."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.start(config["name"], int(parameters.get("INTRA_OP_THREAD_COUNT", "1")))
        self.inputs = tuple(tensor["name"] for tensor in config["input"])
        self.output = config["output"][0]["name"]
        device = "cuda" if args["model_instance_kind"] == "GPU" else "cpu"
        path = Path(args["model_repository"]) / args["model_version"] / "model.pt"
        identity, library = json.loads(parameters["identity"]), parameters["kernel_library"]
        self.run = load_scripted(path, device, identity, library)

    def compute(self, tensors: dict, watch: object) -> None:
        """Runs the network."""
        tensors[self.output] = self.run(*(tensors[name] for name in self.inputs))
        watch.lap(self.model, "compute")
