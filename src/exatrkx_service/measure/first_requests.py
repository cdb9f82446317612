"""The first requests of a job: each instance of each model warm, and the right tracks from them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tenacity

from exatrkx_service.client.limits import Rejected
from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import Client, RequestTimeout
from exatrkx_service.measure.load import again_while, hash_answer
from exatrkx_service.measure.warmup import in_threads, sweep_until_warm
from exatrkx_service.options import MODEL, STAGES, Option
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.serving.server import ServerError

_UNTIL_TAKEN = again_while(tenacity.retry_if_exception_type(Rejected))


class TracksError(ValueError):
    """An option that gives other tracks than the pipeline in one process."""


@dataclass
class FirstRequests:
    """Sends events to an option that nobody has used yet.

    Attributes:
        option: the service option.
        repository: folder that holds the exported networks.
        placement: of the option.
        connect: makes a connection to the server; None if the option needs none.
        labels: SHA-256 of the labels that each event must give, by its number.
        check: called a few times a second; raises if it makes no sense to wait.
        tensors: what each event needs and gives, by its number.
    """

    option: Option
    repository: Path
    placement: Placement
    connect: Callable[[], Client | None]
    labels: Mapping[int, str]
    check: Callable[[], None]
    tensors: dict[int, dict[str, Any]] = field(default_factory=dict)

    def send(self, events: Mapping[int, np.ndarray], instances: Mapping[str, int]) -> int:
        """Sends events of all sizes until every instance of every model is warm.

        Args:
            events: space points by event number.
            instances: of each model that computes, by its name.

        Returns:
            The number of sweeps over the events, one after the other, that it took.

        Raises:
            TracksError: an event's tracks are not those of the reference; of somebody else's model
                none need be.
            ServerError: a lone request takes too long, or the server died.
        """
        sweeps = 0

        def alone(_: int) -> None:
            nonlocal sweeps
            with self._connection() as client:
                pipeline = self.placement.pipeline(client)
                sweeps = sweep_until_warm(lambda number: self._sweep(pipeline, number, events))

        in_threads(alone, 1, self.check)
        several = {model: count for model, count in sorted(instances.items()) if count > 1}
        if several:
            placement = self._steps_alone(events)
            for model, count in several.items():
                self._warm_instances(placement, model, count)
        return sweeps

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Client | None]:
        client = self.connect()
        try:
            yield client
        finally:
            if client:
                client.close()

    def _sweep(self, pipeline: Pipeline, number: int, events: Mapping[int, np.ndarray]) -> None:
        for event, space_points in events.items():
            try:
                request_id = f"warmup/{number}/{event}"
                found = _UNTIL_TAKEN(pipeline, space_points, request_id=request_id)
            except RequestTimeout as error:
                raise ServerError(
                    f"option {self.option.name}, warm-up: event {event} "
                    f"({len(space_points):,} space points), sent alone: {error.message()}; "
                    "raise it, or look at the server's log"
                ) from None
            answer = hash_answer(space_points, found["labels"])
            if not self.option.model and answer != self.labels[event]:
                raise TracksError(
                    f"option {self.option.name}: the tracks of event {event} are not those that "
                    "the pipeline finds in one process (the reference); is that another network, "
                    "another cut, another labeling on the server?"
                )
            self.tensors[event] = found

    def _steps_alone(self, events: Mapping[int, np.ndarray]) -> Placement:
        """Places each model in a step of its own; what that takes is in ``tensors`` then."""
        if self.option.mode in ("fused", MODEL):
            return self.placement
        placement = Placement(Option(self.option.name, "stages", STAGES), self.repository, {})
        if self.option.mode == "ensemble":
            # The ensemble gives the labels alone; its steps take what is between.
            with self._connection() as client:
                pipeline = placement.pipeline(client)
                for event, space_points in events.items():
                    self.tensors[event] = pipeline(space_points, request_id=f"warmup/{event}")
        return placement

    def _warm_instances(self, placement: Placement, model: str, instances: int) -> None:
        """Sends each event to all instances of a model at the same moment.

        Twice as many requests as instances, so that none idles where one is done at once.
        """

        def send(number: int, sweep: int) -> None:
            with self._connection() as client:
                steps = placement.pipeline(client).steps
                step = next(step for step in steps if step.model == model)
                for event, tensors in self.tensors.items():
                    step(dict(tensors), Stopwatch(), f"warmup/{sweep}/{number}/{event}")

        sweep_until_warm(
            lambda sweep: in_threads(partial(send, sweep=sweep), 2 * instances, self.check)
        )
