"""Somebody else's model in the place of the whole pipeline: features in, labels out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from exatrkx_service.client.remote import REQUEST, Client, require
from exatrkx_service.models.foreign import ScaledFeatures
from exatrkx_service.options import MODEL, TheirModel
from exatrkx_service.pipeline.stopwatch import Stopwatch


class ModelStep:
    """One request to a model that somebody else serves.

    Args:
        client: the connection.
        model: the model, with what its server says of it.
    """

    name = MODEL

    def __init__(self, client: Client, model: TheirModel) -> None:
        self.client = client
        self.their = model
        self.model = model.name
        self.dtype = triton_to_np_dtype(model.datatype)
        self.features = ScaledFeatures(model.features, model.scales)

    @torch.inference_mode()
    def _inputs(self, tensors: dict[str, Any]) -> np.ndarray:
        if self.their.columns:
            made = tensors["columns"]
        else:
            made = self.features(torch.from_numpy(tensors["space_points"])).numpy()
        made = np.ascontiguousarray(made, dtype=self.dtype)
        return made[None] if self.their.batched else made

    def __call__(self, tensors: dict[str, Any], watch: Stopwatch, request_id: str) -> None:
        """Runs the step; laps as of ``RemoteStep``, making the features is in ``serialise``."""
        their, transport = self.their, self.client.transport
        inputs = {their.input: self._inputs(tensors)}
        message = transport.encode(
            their.name, inputs, their.output, f"{request_id}/{self.name}", their.version
        )
        watch.lap(self.name, "serialise")
        answer = self.client.call(their.name, message)
        watch.lap(self.name, REQUEST)
        labels = require(transport.decode(answer, their.output), their.name, their.output)
        tensors["labels"] = self._checked(labels, len(tensors["space_points"]))
        watch.lap(self.name, "deserialise")

    def _checked(self, labels: np.ndarray, n_space_points: int) -> np.ndarray:
        """Int64 (N,) labels."""
        if labels.size != n_space_points or (labels.size and labels.dtype.kind not in "iu"):
            raise InferenceServerException(
                f"server.model.output: {self.their.name} gives {self.their.output} as "
                f"{labels.dtype} {labels.shape} for {n_space_points} space points; expected "
                "integers, a label for each of them"
            )
        return labels.reshape(-1).astype(np.int64)
