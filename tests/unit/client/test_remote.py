import numpy as np
import pytest
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import Client, RemoteStep, RequestTimeout, SharedMemoryFull
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS


def failing(error, protocol="http"):
    client = Client("127.0.0.1:9", protocol, 1)

    def infer(*args, **kwargs):
        raise error

    client.connection.infer = infer
    return client


@pytest.mark.parametrize("error", [ConnectionResetError(), HTTPConnectionClosed("closed")])
def test_a_lost_connection_is_a_failed_request(error):
    client = failing(error)
    with pytest.raises(InferenceServerException, match=type(error).__name__):
        client.infer("gnn", [], [], "id")
    assert not client.sent
    client.close()


@pytest.mark.parametrize(
    ("protocol", "error"),
    [
        ("http", TimeoutError("timed out")),
        ("grpc", InferenceServerException("late", status="StatusCode.DEADLINE_EXCEEDED")),
    ],
)
def test_a_request_that_takes_too_long_is_told_from_others_with_its_key(protocol, error):
    client = failing(error, protocol)
    expected = r"gnn: no answer within measure\.request_timeout_s = 1 s"
    with pytest.raises(RequestTimeout, match=expected):
        client.infer("gnn", [], [], "id")
    assert client.sent == {"gnn": 1}  # the server may work on
    client.close()


def test_full_shared_memory_is_no_matter_of_one_request():
    text = "Failed to increase the shared memory pool size for key 'x' to 9 bytes."
    client = failing(InferenceServerException(text), "grpc")
    with pytest.raises(SharedMemoryFull, match="too little shared memory for the larger events"):
        client.infer("gnn", [], [], "id")
    client.close()


class Answer:
    """A connection whose answer is an array."""

    def __init__(self, array):
        import tritonclient.http

        self.module, self.array = tritonclient.http, array

    def infer(self, *arguments):
        return self

    def as_numpy(self, name):
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
