"""How a request goes to a Triton server and its answer comes back: as bytes, over gRPC or HTTP.

The formats are those of tritonclient. What its clients do in one call is three here, so that each
can be timed: the arrays become bytes, the bytes go and others come, and those become arrays.
"""

from __future__ import annotations

import json
from typing import Any, Protocol
from urllib.parse import quote

import grpc
import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from geventhttpclient import HTTPClient, HTTPParseError
from geventhttpclient.url import URL
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from exatrkx_service.client.limits import Rejected, rejected_by_grpc, rejected_by_http
from exatrkx_service.serving.access import Access
from exatrkx_service.serving.inquiry import CHANNEL

Tensors = dict[str, np.ndarray]
METHOD = "/inference.GRPCInferenceService/ModelInfer"


class Transport(Protocol):
    """One connection to a server; for one thread."""

    def encode(
        self, model: str, inputs: Tensors, output: str, request_id: str, version: str = ""
    ) -> Any:
        """Makes the bytes of a request for one output; the arrays are C-contiguous."""

    def call(self, message: Any) -> Any:
        """Sends a request and waits for the bytes of its answer.

        Raises:
            TimeoutError: there was no answer in time.
            Rejected: the server turned it away.
            InferenceServerException: the request failed otherwise.
        """

    def decode(self, answer: Any, output: str) -> np.ndarray | None:
        """The output of an answer, a read-only view of it; None if it is not there."""

    def close(self) -> None:
        """Closes the connection."""


class GrpcTransport:
    """A gRPC channel of its own; see ``Transport``.

    Args:
        url: ``host:port``.
        timeout_s: how long to wait for an answer [s].
        access: how the server lets its clients in.
    """

    def __init__(self, url: str, timeout_s: float, access: Access) -> None:
        self.timeout_s, self.access = timeout_s, access
        self.metadata = tuple(access.headers("grpc").items())
        credentials = access.credentials()
        self.channel = (
            grpc.secure_channel(url, credentials, options=CHANNEL)
            if credentials
            else grpc.insecure_channel(url, options=CHANNEL)
        )
        # Without serializers: gRPC takes bytes and gives bytes.
        self.infer = self.channel.unary_unary(METHOD)

    def encode(
        self, model: str, inputs: Tensors, output: str, request_id: str, version: str = ""
    ) -> bytes:
        """Makes the bytes of a request."""
        request = ModelInferRequest(model_name=model, model_version=version, id=request_id)
        for name, array in inputs.items():
            datatype = np_to_triton_dtype(array.dtype)
            request.inputs.add(name=name, datatype=datatype, shape=array.shape)
            request.raw_input_contents.append(array.tobytes())
        request.outputs.add(name=output)
        return request.SerializeToString()

    def call(self, message: bytes) -> bytes:
        """Sends a request."""
        try:
            return self.infer(message, timeout=self.timeout_s, metadata=self.metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError(error.details()) from error
            kind = Rejected if rejected_by_grpc(error) else InferenceServerException
            text = self.access.masked(error.details() or "")
            raise kind(text or error.code().name, str(error.code())) from None

    def decode(self, answer: bytes, output: str) -> np.ndarray | None:
        """The output of an answer."""
        return grpcclient.InferResult(ModelInferResponse.FromString(answer)).as_numpy(output)

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()


class HttpTransport:
    """A connection that is kept, with the HTTP library of tritonclient; see ``Transport``.

    Args:
        url: ``host:port``, or with a path behind it.
        timeout_s: how long to wait for an answer [s].
        access: how the server lets its clients in.
    """

    def __init__(self, url: str, timeout_s: float, access: Access) -> None:
        address = URL(f"http://{url}" if access.tls is None else f"https://{url}")
        self.path, self.access = address.request_uri.rstrip("/"), access
        self.headers = access.headers("http")
        self.connection = HTTPClient.from_url(
            address,
            concurrency=1,
            connection_timeout=timeout_s,
            network_timeout=timeout_s,
            ssl_options=access.ssl_options(),
        )

    def encode(
        self, model: str, inputs: Tensors, output: str, request_id: str, version: str = ""
    ) -> tuple[str, bytes, int | None]:
        """Makes the body of a request; gives its path and the length of its JSON as well."""
        tensors = [
            httpclient.InferInput(
                name, array.shape, np_to_triton_dtype(array.dtype)
            ).set_data_from_numpy(array)
            for name, array in inputs.items()
        ]
        outputs = [httpclient.InferRequestedOutput(output)]
        body, json_size = httpclient.InferenceServerClient.generate_request_body(
            tensors, outputs=outputs, request_id=request_id
        )
        which = f"{quote(model)}/versions/{version}" if version else quote(model)
        return f"{self.path}/v2/models/{which}/infer", body, json_size

    def call(self, message: tuple[str, bytes, int | None]) -> tuple[bytes, int | None]:
        """Sends a request; gives the body of the answer and the length of its JSON."""
        path, body, json_size = message
        headers = dict(self.headers)
        if json_size is not None:
            headers["Inference-Header-Content-Length"] = str(json_size)
        try:
            response = self.connection.post(path, body=body, headers=headers)
            answer = response.read()
        except TimeoutError:
            raise
        except (OSError, HTTPParseError) as error:  # the connection was lost
            raise InferenceServerException(f"{type(error).__name__}: {error}") from error
        if response.status_code != 200:
            status = response.status_code
            text = self.access.masked(_error(answer))
            given = {name.lower(): value for name, value in response.items()}
            kind = Rejected if rejected_by_http(status, given, text) else InferenceServerException
            raise kind(text, str(status))
        size = response.get("Inference-Header-Content-Length")
        return answer, None if size is None else int(size)

    def decode(self, answer: tuple[bytes, int | None], output: str) -> np.ndarray | None:
        """The output of an answer."""
        body, json_size = answer
        result = httpclient.InferenceServerClient.parse_response_body(body, header_length=json_size)
        return result.as_numpy(output)

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()


def _error(answer: bytes) -> str:
    """What a server says of a request that failed."""
    try:
        return json.loads(answer)["error"]
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace") or "the server's answer is empty"
