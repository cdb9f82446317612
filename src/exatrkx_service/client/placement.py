"""Builds the pipeline of a service option: every stage on the side the option says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.options import ENSEMBLE, FUSED, STAGES, Option
from exatrkx_service.pipeline.pipeline import LocalStep, Pipeline
from exatrkx_service.pipeline.stages import make_stage
from exatrkx_service.pipeline.tensors import SPECS, WHOLE_SPEC, StageSpec


class Placement:
    """A service option made ready: what stays on the client is loaded once, for all clients.

    Args:
        option: the service option.
        model_repository: folder that holds the exported networks.
        parameters: the ``pipeline`` section of the configuration.
        loaded: stages that are loaded already, by name; the others are added to it.
    """

    def __init__(
        self,
        option: Option,
        model_repository: Path,
        parameters: dict[str, Any],
        loaded: dict[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.option = option
        loaded = {} if loaded is None else loaded
        self.local = {}
        for stage in STAGES:
            if stage not in option.served:
                if stage not in loaded:
                    loaded[stage] = make_stage(stage, model_repository, parameters)
                self.local[stage] = loaded[stage]

    def pipeline(self, client: Client | None) -> Pipeline:
        """The pipeline of one client.

        Args:
            client: its connection; None where the option needs no server.
        """
        if self.option.mode == "ensemble":
            return Pipeline([_remote(client, "ensemble", ENSEMBLE, WHOLE_SPEC)])
        if self.option.mode == "fused":
            joined = self.option.joined
            return Pipeline([_remote(client, "pipeline", FUSED, WHOLE_SPEC, joined)])
        if self.option.model:
            # It imports torch, which must wait until the process is settled.
            from exatrkx_service.client.their_step import ModelStep

            return Pipeline([ModelStep(client, self.option.model)])
        return Pipeline([self._step(stage, client) for stage in STAGES])

    def _step(self, stage: str, client: Client | None) -> LocalStep | RemoteStep:
        if stage in self.local:
            return LocalStep(stage, self.local[stage])
        return _remote(client, stage, stage, SPECS[stage])


def _remote(
    client: Client | None, name: str, model: str, spec: StageSpec, joined: bool = False
) -> RemoteStep:
    return RemoteStep(client, name, model, spec.inputs, spec.output, spec.optional, joined)
