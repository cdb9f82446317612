"""Steps of the pipeline that run on a Triton server, over gRPC or HTTP."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from geventhttpclient import HTTPParseError
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import DTYPES, to_numpy
from exatrkx_service.serving.server import token_headers

REQUEST = "request"  # the part that is cut further with the server's own time stamps
# What tritonclient lets through from its HTTP library: time-outs, and connections that were lost.
LOST = (OSError, HTTPParseError)
# gRPC lets all channels of a process to one address share a connection; messages are not limited.
CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


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
        token: what the server wants its clients to know; empty if nothing.
    """

    def __init__(self, url: str, protocol: str, timeout_s: float, token: str = "") -> None:
        self.module = protocol_module(protocol)
        self.protocol = protocol
        self.timeout_s = timeout_s
        self.headers = token_headers(protocol, token)
        if protocol == "grpc":
            self.connection = self.module.InferenceServerClient(url, channel_args=CHANNEL)
        else:
            self.connection = self.module.InferenceServerClient(
                url, connection_timeout=timeout_s, network_timeout=timeout_s
            )

    def infer(self, model: str, inputs: list[Any], outputs: list[Any], request_id: str) -> Any:
        """Sends one request and waits for its result.

        Raises:
            InferenceServerException: the request failed.
        """
        limit = {"client_timeout": self.timeout_s} if self.protocol == "grpc" else {}
        try:
            return self.connection.infer(
                model,
                inputs,
                outputs=outputs,
                request_id=request_id,
                headers=self.headers,
                **limit,
            )
        except LOST as error:
            raise InferenceServerException(f"{type(error).__name__}: {error}") from error

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
        output: name of the tensor it gives.
    """

    def __init__(
        self, client: Client, name: str, model: str, inputs: tuple[str, ...], output: str
    ) -> None:
        self.client = client
        self.name = name
        self.model = model
        self.inputs = inputs
        self.output = output

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
        outputs = [module.InferRequestedOutput(self.output)]
        watch.lap(self.name, "serialise")
        result = self.client.infer(self.model, inputs, outputs, f"{request_id}/{self.name}")
        watch.lap(self.name, REQUEST)
        tensors[self.output] = result.as_numpy(self.output)
        watch.lap(self.name, "deserialise")
