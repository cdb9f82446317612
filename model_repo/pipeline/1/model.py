"""Serves the whole pipeline as one model, with the code that a client runs without a server."""

import numpy as np

from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.serving.exchange import respond, take
from exatrkx_service.serving.stage_model import model_folder, parameters_of


class TritonPythonModel:
    """One instance of all five stages."""

    def initialize(self, args: dict) -> None:
        """Loads the networks from the repository that this model lies in."""
        self.pipeline = local_pipeline(model_folder(args).parent, parameters_of(args))

    def execute(self, requests: list) -> list:
        """Finds the tracks of each request; says how long each stage took."""
        responses = []
        for request in requests:
            space_points = take(request, "space_points")
            watch = Stopwatch()
            labels = self.pipeline(space_points, watch)["labels"]
            times = np.array(
                [(lap.start_ns - watch.start_ns, lap.duration_ns) for lap in watch.laps],
                dtype=np.int64,
            )
            responses.append(respond(labels=labels, stage_times=times))
        return responses
