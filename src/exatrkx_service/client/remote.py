"""Steps of the pipeline that run on a Triton server, over gRPC or HTTP."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.transport import GrpcTransport, HttpTransport, Transport
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import DTYPES, StageSpec, to_numpy
from exatrkx_service.serving.access import Access
from exatrkx_service.serving.health import ServerError

REQUEST = "request"  # the part that is cut further with the server's own time stamps
# Messages of Triton when its shared memory is full.
FULL = ("shared memory", "No space left", "bad_alloc")


class RequestTimeout(InferenceServerException):
    """A request that took longer than its client waits; the server may work on."""


class SharedMemoryFull(ServerError):
    """The server has no room for the tensors of a request: smaller ones alone would pass."""


class Client:
    """One client's connection to the server; one per thread, as its users would have.

    Args:
        url: ``host:port`` of the protocol.
        protocol: ``grpc`` or ``http``.
        timeout_s: a request that takes longer fails [s].
        access: how the server lets its clients in.
    """

    def __init__(
        self, url: str, protocol: str, timeout_s: float, access: Access | None = None
    ) -> None:
        # Requests by model that the server has taken, as far as can be known: those it answered,
        # and those it had no time for.
        self.sent: Counter[str] = Counter()
        self.timeout_s = timeout_s
        kind = GrpcTransport if protocol == "grpc" else HttpTransport
        self.transport: Transport = kind(url, timeout_s, access or Access())

    def call(self, model: str, message: Any) -> Any:
        """Sends one request and waits for its answer, both as the transport encodes them.

        Raises:
            RequestTimeout: it took longer than ``timeout_s``.
            SharedMemoryFull: the server's shared memory is full.
            Rejected: the server turned it away.
            InferenceServerException: the request failed otherwise.
        """
        try:
            answer = self.transport.call(message)
        except TimeoutError as error:
            self.sent[model] += 1
            raise RequestTimeout(
                f"{model}: no answer within measure.request_timeout_s = {self.timeout_s:g} s"
            ) from error
        except InferenceServerException as error:
            if any(word in (error.message() or "") for word in FULL):
                raise SharedMemoryFull(
                    f"{model}: {error.message()}; the server has too little shared memory for the "
                    "larger events: give it more (of a container: --shm-size, --ipc=host)"
                ) from error
            raise
        self.sent[model] += 1
        return answer

    def close(self) -> None:
        """Closes the connection."""
        self.transport.close()


class RemoteStep:
    """A model on the server in the place of one stage, or of all.

    Args:
        client: the connection.
        name: what the time is booked under: a stage, ``ensemble`` or ``pipeline``.
        model: name of the Triton model.
        inputs: names of the tensors it takes.
        output: name of the tensor it gives.
        optional: names of tensors that it takes besides, where there are any.
        joined: whether Triton may join its requests: then each tensor has a dimension in front.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        model: str,
        inputs: tuple[str, ...],
        output: str,
        optional: tuple[str, ...] = (),
        joined: bool = False,
    ) -> None:
        self.client = client
        self.name = name
        self.model = model
        self.inputs = inputs
        self.output = output
        self.spec = StageSpec(inputs, output, optional)
        self.joined = joined

    def __call__(self, tensors: dict[str, Any], watch: Stopwatch, request_id: str) -> None:
        """Runs the step.

        Its laps: ``serialise``, the arrays become the bytes of a message; ``request``, from then
        until the bytes of the answer are there; ``deserialise``, they become an array.
        """
        transport = self.client.transport
        inputs = {
            name: np.ascontiguousarray(to_numpy(tensors[name]), dtype=DTYPES[name])
            for name in self.spec.taken(tensors)
        }
        if self.joined:
            inputs = {name: array[None] for name, array in inputs.items()}
        message = transport.encode(self.model, inputs, self.output, f"{request_id}/{self.name}")
        watch.lap(self.name, "serialise")
        answer = self.client.call(self.model, message)
        watch.lap(self.name, REQUEST)
        output = self._checked(transport.decode(answer, self.output))
        tensors[self.output] = output[0] if self.joined else output
        watch.lap(self.name, "deserialise")

    def _checked(self, array: np.ndarray | None) -> np.ndarray:
        dtype = DTYPES[self.output]
        array = require(array, self.model, self.output)
        if array.dtype != dtype:
            # Some versions of tritonclient give an empty array another type, over HTTP.
            if array.size:
                raise InferenceServerException(
                    f"{self.model}: output {self.output} is {array.dtype}, expected "
                    f"{np.dtype(dtype)}"
                )
            array = array.astype(dtype)
        return array


def require(array: np.ndarray | None, model: str, output: str) -> np.ndarray:
    """The array, which must be there.

    Raises:
        InferenceServerException: the answer has no such output.
    """
    if array is None:
        raise InferenceServerException(f"{model}: no output {output}")
    return array
