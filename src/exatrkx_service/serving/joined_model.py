"""The whole pipeline as a Python model: requests that wait at the same time are computed as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from exatrkx_service.options import STAGES
from exatrkx_service.pipeline.event_labels import part_labels
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import to_numpy
from exatrkx_service.serving.journal import CONVERT
from exatrkx_service.serving.stage_model import StageModel


class JoinedModel(StageModel):
    """All five stages; with Triton's dynamic batcher, for all requests that it gives at once.

    Then each tensor has one more dimension in front, of size 1: the events of a request come one
    after the other, as those of several requests do.
    """

    stages = STAGES

    def initialize(self, args: dict[str, str]) -> None:
        """Makes the stages, and looks whether there is a batcher."""
        super().initialize(args)
        self.joins = json.loads(args["model_config"]).get("max_batch_size", 0) > 0

    def take(self, request: Any) -> dict[str, Any]:
        """The inputs of a request, without the dimension in front.

        Raises:
            ValueError: it is of another size than 1.
        """
        tensors = super().take(request)
        if not self.joins:
            return tensors
        for name, tensor in tensors.items():
            if tensor.shape[0] != 1:
                raise ValueError(
                    f"{name}: shape {list(tensor.shape)}; expected 1 in front, and several events "
                    "of a request one after the other, with event_sizes"
                )
        return {name: tensor[0] for name, tensor in tensors.items()}

    def respond(self, output: Any) -> Any:
        """The response that holds the labels."""
        return super().respond(to_numpy(output)[None] if self.joins else output)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers the requests; each has the notes of all, for it waits for the others as well."""
        if len(requests) > 1:
            try:
                return self._together(requests)
            except Exception:  # one that is wrong must not take the others with it
                return [self._alone(request) for request in requests]
        return super().execute(requests)

    def _alone(self, request: Any) -> Any:
        try:
            return super().execute([request])[0]
        except Exception as error:
            return self.exchange.fail(f"{type(error).__name__}: {error}")

    def _together(self, requests: list[Any]) -> list[Any]:
        watch = Stopwatch()
        given = [self.take(request) for request in requests]
        counts = [len(tensors["space_points"]) for tensors in given]
        tensors = join(given)
        watch.lap(self.model, CONVERT)
        self.compute(tensors, watch)
        parts = part_labels(to_numpy(tensors[self.output]), counts)
        responses = [self.respond(labels) for labels in parts]
        watch.lap(self.model, CONVERT)
        for request in requests:
            self.journal.note(request.request_id(), watch.laps)
        return responses


def join(requests: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Makes one request of several.

    Args:
        requests: of each its ``space_points``, float32 (N, 3), and ``event_sizes``, int64 (B,), if
            it has several events; tensors or arrays.

    Returns:
        Both, of all their events one after the other.
    """
    points = [to_numpy(request["space_points"]) for request in requests]
    sizes = [
        to_numpy(request["event_sizes"]) if "event_sizes" in request else np.array([len(own)])
        for request, own in zip(requests, points, strict=True)
    ]
    return {"space_points": np.concatenate(points), "event_sizes": np.concatenate(sizes)}
