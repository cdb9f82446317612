"""Steps of the pipeline that run on a Triton server, over gRPC or HTTP."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from tritonclient.utils import np_to_triton_dtype

from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import DTYPES, to_numpy

REQUEST = "request"  # the part that is cut further with the server's own time stamps
TIMES = "stage_times"  # the fused model's times of its stages


def protocol_module(protocol: str) -> ModuleType:
    """The tritonclient module of a protocol, ``grpc`` or ``http``."""
    if protocol == "grpc":
        import tritonclient.grpc as module
    else:
        import tritonclient.http as module
    return module


class Client:
    """One client's connection to the server; one per thread, as its users would have.

    Args:
        url: ``host:port`` of the protocol.
        protocol: ``grpc`` or ``http``.
        timeout_s: a request that takes longer fails [s].
    """

    def __init__(self, url: str, protocol: str, timeout_s: float) -> None:
        self.module = protocol_module(protocol)
        self.protocol = protocol
        self.timeout_s = timeout_s
        if protocol == "grpc":
            self.connection = self.module.InferenceServerClient(url)
        else:
            self.connection = self.module.InferenceServerClient(
                url, connection_timeout=timeout_s, network_timeout=timeout_s
            )

    def infer(self, model: str, inputs: list[Any], outputs: list[Any], request_id: str) -> Any:
        """Sends one request and waits for its result."""
        limit = {"client_timeout": self.timeout_s} if self.protocol == "grpc" else {}
        return self.connection.infer(model, inputs, outputs=outputs, request_id=request_id, **limit)

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()


class RemoteStep:
    """A model on the server in the place of one stage, or of all.

    Args:
        client: the connection.
        name: what the time is booked under: a stage, ``ensemble`` or ``pipeline``.
        model: name of the Triton model.
        inputs: names of the tensors it takes.
        outputs: names of the tensors it gives.
    """

    def __init__(
        self, client: Client, name: str, model: str, inputs: tuple[str, ...], *outputs: str
    ) -> None:
        self.client = client
        self.name = name
        self.model = model
        self.inputs = inputs
        self.outputs = outputs

    def __call__(self, tensors: dict[str, Any], watch: Stopwatch, request_id: str) -> None:
        """Runs the step: ``serialise``, ``request`` and ``deserialise``.

        ``serialise`` ends when the tensors are in the request object; tritonclient encodes that
        object on the way, so the encoding itself is part of the request.
        """
        module = self.client.module
        inputs = []
        for name in self.inputs:
            array = np.ascontiguousarray(to_numpy(tensors[name]), dtype=DTYPES[name])
            infer_input = module.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
            inputs.append(infer_input.set_data_from_numpy(array))
        outputs = [module.InferRequestedOutput(name) for name in self.outputs]
        watch.lap(self.name, "serialise")
        result = self.client.infer(self.model, inputs, outputs, f"{request_id}/{self.name}")
        watch.lap(self.name, REQUEST)
        for name in self.outputs:
            tensors[name] = result.as_numpy(name)
        watch.lap(self.name, "deserialise")
