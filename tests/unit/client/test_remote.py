import grpc
import numpy as np
import pytest
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import Client, RemoteStep, RequestTimeout, SharedMemoryFull
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS


class CallFailed(grpc.RpcError):
    """What a gRPC call raises."""

    def __init__(self, code, details):
        self.code, self.details = lambda: code, lambda: details


def failing(error, protocol):
    """A client whose library raises an error for each request."""
    client = Client("127.0.0.1:9", protocol, 1)

    def fail(*args, **kwargs):
        raise error

    if protocol == "grpc":
        client.transport.infer = fail
    else:
        client.transport.connection.post = fail
    return client


def send(client, model):
    """One request without inputs, as a step sends it."""
    return client.call(model, client.transport.encode(model, {}, "labels", "id"))


@pytest.mark.parametrize("error", [ConnectionResetError(), HTTPConnectionClosed("closed")])
def test_a_lost_connection_is_a_failed_request(error):
    client = failing(error, "http")
    with pytest.raises(InferenceServerException, match=type(error).__name__):
        send(client, "gnn")
    assert not client.sent
    client.close()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_server_that_is_not_there_is_a_failed_request(protocol):
    client = Client("127.0.0.1:9", protocol, 5)  # a port of the system that nobody listens on
    with pytest.raises(InferenceServerException, match=r"(?i)connection ?refused"):
        send(client, "gnn")
    assert not client.sent
    client.close()


@pytest.mark.parametrize(
    ("protocol", "error"),
    [
        ("http", TimeoutError("timed out")),
        ("grpc", CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "late")),
    ],
)
def test_a_request_that_takes_too_long_is_told_from_others_with_its_key(protocol, error):
    client = failing(error, protocol)
    expected = r"gnn: no answer within measure\.request_timeout_s = 1 s"
    with pytest.raises(RequestTimeout, match=expected):
        send(client, "gnn")
    assert client.sent == {"gnn": 1}  # the server may work on
    client.close()


def test_full_shared_memory_is_no_matter_of_one_request():
    text = "Failed to increase the shared memory pool size for key 'x' to 9 bytes."
    client = failing(CallFailed(grpc.StatusCode.INTERNAL, text), "grpc")
    with pytest.raises(SharedMemoryFull, match="too little shared memory for the larger events"):
        send(client, "gnn")
    client.close()


class Answer:
    """A connection whose answer is an array."""

    def __init__(self, array):
        self.transport, self.array = self, array

    def encode(self, *arguments):
        return None

    def call(self, *arguments):
        return None

    def decode(self, *arguments):
        return self.array


def answered(array):
    step = RemoteStep(Answer(array), "embedding", "embedding", SPECS["embedding"].inputs, "labels")
    tensors = {"space_points": np.zeros((0, 3), np.float32)}
    step(tensors, Stopwatch(), "x")
    return tensors["labels"]


def test_an_empty_array_has_the_type_that_is_declared():
    # tritonclient 2.51.0 gives it as float64 over HTTP.
    assert answered(np.zeros(0)).dtype == np.int64
    array = np.arange(3)
    assert answered(array) is array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "embedding: output labels is float64, expected int64"),
        (None, "embedding: no output labels"),
    ],
)
def test_an_array_of_another_type_is_refused(array, message):
    with pytest.raises(InferenceServerException, match=message):
        answered(array)
