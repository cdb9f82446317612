"""What the Python models of the repository share; runs inside Triton's Python backend."""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from exatrkx_service.options import NULL, STAGES
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.pipeline import LocalStep
from exatrkx_service.pipeline.stages import make_stage
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import NULL_SPEC, SPECS, WHOLE_SPEC
from exatrkx_service.serving.journal import CONVERT, Journal


class ServedModel:
    """A model of the Python backend; a subclass sets what it takes and gives, and computes."""

    inputs: tuple[str, ...]
    output: str
    optional: tuple[str, ...] = ()

    def start(self, model: str, threads: int) -> None:
        """Makes the process ready, as the client makes its own; before torch is imported."""
        affinity = os.sched_getaffinity(0)
        devices.settle(threads)
        from exatrkx_service.serving import exchange

        self.model = model
        self.exchange = exchange
        self.journal = Journal()
        self.journal.introduce(model, affinity)

    def compute(self, tensors: dict[str, Any], watch: Stopwatch) -> None:
        """Adds the output to the tensors, and a lap of the watch for each stage."""
        raise NotImplementedError

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers the requests, and notes of each when it was begun, computed and answered.

        The notes are without gaps: from the first to the last they say how long the model had the
        request; what others of the same call wait for it is in none of theirs.
        """
        responses = []
        for request in requests:
            watch = Stopwatch()
            tensors = self.take(request)
            watch.lap(self.model, CONVERT)
            self.compute(tensors, watch)
            responses.append(self.respond(tensors[self.output]))
            watch.lap(self.model, CONVERT)
            self.journal.note(request.request_id(), watch.laps)
        return responses

    def take(self, request: Any) -> dict[str, Any]:
        """The inputs of a request, by their names."""
        optional = (name for name in self.optional if self.exchange.has(request, name))
        return {name: self.exchange.take(request, name) for name in (*self.inputs, *optional)}

    def respond(self, output: Any) -> Any:
        """The response that holds the output."""
        return self.exchange.respond(self.output, output)

    def finalize(self) -> None:
        """Writes the journal; called when the server unloads the model."""
        self.journal.write()
        # With CUDA a process can hang in the destructors of its libraries. This runs before them,
        # when the server has got its answer.
        atexit.register(os._exit, 0)


class StageModel(ServedModel):
    """Runs one stage, or all in a row, with the code that a client runs.

    A subclass names its ``stages``.
    """

    stages: tuple[str, ...]

    def initialize(self, args: dict[str, str]) -> None:
        """Makes the stages with the parameters of ``config.pbtxt``."""
        entries = json.loads(args["model_config"])["parameters"]
        parameters = {"device": "cpu", "threads": "1"}
        parameters |= {key: value["string_value"] for key, value in entries.items()}
        parameters["networks"] = json.loads(parameters.get("networks", "{}"))
        self.start(args["model_name"], int(parameters["threads"]))
        spec = WHOLE_SPEC if self.stages == STAGES else SPECS[self.stages[0]]
        self.inputs, self.optional, self.output = spec.inputs, spec.optional, spec.output
        repository = Path(args["model_repository"]).parent
        self.steps = [
            LocalStep(stage, make_stage(stage, repository, parameters)) for stage in self.stages
        ]

    def compute(self, tensors: dict[str, Any], watch: Stopwatch) -> None:
        """Runs the stages."""
        for step in self.steps:
            step(tensors, watch, "")


class NullModel(ServedModel):
    """Computes nothing, and answers as the stages do: what is left is what a request costs."""

    inputs, output = NULL_SPEC.inputs, NULL_SPEC.output

    def initialize(self, args: dict[str, str]) -> None:
        """Makes the process ready with the parameter ``threads`` of ``config.pbtxt``."""
        entries = json.loads(args["model_config"])["parameters"]
        self.start(args["model_name"], int(entries["threads"]["string_value"]))

    def compute(self, tensors: dict[str, Any], watch: Stopwatch) -> None:
        """Makes as many numbers as the request asks for."""
        tensors[self.output] = np.zeros(int(tensors["answer_size"][0]), np.float32)
        watch.lap(NULL, "compute")
