"""What the Python models of the repository share; runs inside Triton's Python backend."""

from __future__ import annotations

import json
from pathlib import Path

from exatrkx_service.pipeline.stages import make_stage
from exatrkx_service.pipeline.tensors import SPECS
from exatrkx_service.serving.exchange import respond, take


def parameters_of(args: dict) -> dict[str, str]:
    """The parameters in a model's ``config.pbtxt``, from the arguments of ``initialize``."""
    parameters = json.loads(args["model_config"])["parameters"]
    return {key: value["string_value"] for key, value in parameters.items()}


def model_folder(args: dict) -> Path:
    """The model's folder in the repository, from the arguments of ``initialize``."""
    return Path(args["model_repository"])


class StageModel:
    """A Triton model that runs one stage; a subclass names the ``stage``."""

    stage: str

    def initialize(self, args: dict) -> None:
        """Makes the stage with the parameters of ``config.pbtxt``."""
        parameters = {"device": "cpu", **parameters_of(args)}
        self.run = make_stage(self.stage, model_folder(args).parent, parameters)

    def execute(self, requests: list) -> list:
        """Runs the stage on each request."""
        spec = SPECS[self.stage]
        responses = []
        for request in requests:
            output = self.run(*(take(request, name) for name in spec.inputs))
            responses.append(respond(**{spec.output: output}))
        return responses
