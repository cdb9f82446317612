"""Steps of the pipeline that run on a Triton server, over gRPC or HTTP."""

from __future__ import annotations

from collections import Counter
from types import ModuleType
from typing import Any

import numpy as np
from geventhttpclient import HTTPParseError
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import DTYPES, to_numpy
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.server import CHANNEL, token_headers

REQUEST = "request"  # the part that is cut further with the server's own time stamps
# What tritonclient lets through from its HTTP library: time-outs, and connections that were lost.
LOST = (OSError, HTTPParseError)


# Messages of Triton when its shared memory is full.
FULL = ("shared memory", "No space left", "bad_alloc")


class RequestTimeout(InferenceServerException):
    """A request that took longer than its client waits; the server may work on."""


class SharedMemoryFull(ServerError):
    """The server has no room for the tensors of a request: smaller ones alone would pass."""


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
        # Requests by model that the server has taken, as far as can be known: those it answered,
        # and those it had no time for.
        self.sent: Counter[str] = Counter()
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
            RequestTimeout: it took longer than ``timeout_s``.
            SharedMemoryFull: the server's shared memory is full.
            InferenceServerException: the request failed otherwise.
        """
        limit = {"client_timeout": self.timeout_s} if self.protocol == "grpc" else {}
        try:
            result = self.connection.infer(
                model,
                inputs,
                outputs=outputs,
                request_id=request_id,
                headers=self.headers,
                **limit,
            )
        except TimeoutError as error:
            raise self._timeout(model) from error
        except LOST as error:
            raise InferenceServerException(f"{type(error).__name__}: {error}") from error
        except InferenceServerException as error:
            if error.status() == "StatusCode.DEADLINE_EXCEEDED":
                raise self._timeout(model) from error
            if any(word in (error.message() or "") for word in FULL):
                raise SharedMemoryFull(
                    f"{model}: {error.message()}; the server has too little shared memory for the "
                    "larger events: give it more (of a container: --shm-size, --ipc=host)"
                ) from error
            raise
        self.sent[model] += 1
        return result

    def _timeout(self, model: str) -> RequestTimeout:
        self.sent[model] += 1
        return RequestTimeout(
            f"{model}: no answer within measure.request_timeout_s = {self.timeout_s:g} s"
        )

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
        tensors[self.output] = self._output(result)
        watch.lap(self.name, "deserialise")

    def _output(self, result: Any) -> np.ndarray:
        array, dtype = result.as_numpy(self.output), DTYPES[self.output]
        if array is None:
            raise InferenceServerException(f"{self.model}: no output {self.output}")
        if array.dtype != dtype:
            # Some versions of tritonclient give an empty array another type, over HTTP.
            if array.size:
                raise InferenceServerException(
                    f"{self.model}: output {self.output} is {array.dtype}, expected "
                    f"{np.dtype(dtype)}"
                )
            array = array.astype(dtype)
        return array
