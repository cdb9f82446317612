"""Runs the five stages on one event, each where a service option places it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from exatrkx_service.events.event import EventBatch, PointsWithColumns
from exatrkx_service.options import STAGES
from exatrkx_service.pipeline.stages import make_stage
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS, to_numpy


class Step(Protocol):
    """A stage in its place: runs on ``tensors``, adds its output to them and laps the watch."""

    def __call__(self, tensors: dict[str, Any], watch: Stopwatch, request_id: str) -> None:
        """Runs the step."""


class LocalStep:
    """A stage that runs in this process; its arrays are passed on without a copy."""

    def __init__(self, stage: str, function: Callable[..., Any]) -> None:
        self.stage = stage
        self.function = function

    def __call__(self, tensors: dict[str, Any], watch: Stopwatch, request_id: str) -> None:
        """Runs the stage; its time is the part ``compute``."""
        spec = SPECS[self.stage]
        tensors[spec.output] = self.function(*(tensors[name] for name in spec.taken(tensors)))
        watch.lap(self.stage, "compute")


class Pipeline:
    """Track finding with every step where its option placed it."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    def __call__(
        self,
        space_points: np.ndarray | PointsWithColumns | EventBatch,
        watch: Stopwatch | None = None,
        request_id: str = "",
    ) -> dict[str, Any]:
        """Finds the tracks of one event, or of several at once.

        Args:
            space_points: float32 (N, 3): r [mm], phi [rad], z [mm]; or these with other tensors:
                the columns of their file, or how many points each of several events has.
            watch: gets one lap per part of each step.
            request_id: prefix of the ids of requests to the server.

        Returns:
            All tensors on the way by name; ``labels`` is int64 (N,), a numpy array.
        """
        watch = watch or Stopwatch()
        tensors: dict[str, Any] = {"space_points": space_points}
        if not isinstance(space_points, np.ndarray):
            tensors = dict(vars(space_points))
        for step in self.steps:
            step(tensors, watch, request_id)
        tensors["labels"] = to_numpy(tensors["labels"])
        return tensors


def local_pipeline(model_repository: Path, parameters: Mapping[str, Any]) -> Pipeline:
    """The pipeline with all five stages in this process."""
    return Pipeline(
        [LocalStep(stage, make_stage(stage, model_repository, parameters)) for stage in STAGES]
    )
