"""The formats of both protocols, as tritonclient has them, and answers as Triton gives them."""

import contextlib
import json
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from exatrkx_service.client import transport
from exatrkx_service.client.limits import Rejected
from exatrkx_service.client.transport import GrpcTransport, HttpTransport
from exatrkx_service.serving.access import Access

INPUTS = {
    "space_points": np.arange(6, dtype=np.float32).reshape(2, 3),
    "filtered_edges": np.zeros((2, 0), np.int32),
}
LABELS = np.array([3, -1, 2**40], np.int64)


@contextlib.contextmanager
def connected(kind, url="127.0.0.1:9", timeout_s=5, token=""):
    one = kind(url, timeout_s, Access(token=token))
    try:
        yield one
    finally:
        one.close()


def tensors(module):
    """The inputs and the output as tritonclient takes them."""
    inputs = []
    for name, array in INPUTS.items():
        one = module.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        inputs.append(one.set_data_from_numpy(array))
    return {"inputs": inputs, "outputs": [module.InferRequestedOutput("labels")]}


def test_a_grpc_request_is_what_tritonclient_sends(monkeypatch):
    module = tritonclient.grpc
    client = module.InferenceServerClient("127.0.0.1:9")
    theirs = []

    def infer(request, **kwargs):
        theirs.append(request)
        return ModelInferResponse()

    monkeypatch.setattr(client._client_stub, "ModelInfer", infer)
    client.infer("gnn", **tensors(module), request_id="a/gnn")
    with connected(GrpcTransport) as ours:
        message = ours.encode("gnn", INPUTS, "labels", "a/gnn")
    assert ModelInferRequest.FromString(message) == theirs[0]
    client.close()


def grpc_answer(array, name="labels"):
    response = ModelInferResponse(model_name="gnn", id="a/gnn")
    datatype = np_to_triton_dtype(array.dtype)
    response.outputs.add(name=name, datatype=datatype, shape=array.shape)
    response.raw_output_contents.append(array.tobytes())
    return response.SerializeToString()


def http_answer(array, name="labels"):
    datatype = np_to_triton_dtype(array.dtype)
    output = {"name": name, "datatype": datatype, "shape": array.shape}
    output["parameters"] = {"binary_data_size": array.nbytes}
    head = json.dumps({"model_name": "gnn", "outputs": [output]}).encode()
    return head + array.tobytes(), len(head)


@pytest.mark.parametrize(
    ("kind", "answer"), [(GrpcTransport, grpc_answer), (HttpTransport, http_answer)]
)
@pytest.mark.parametrize(
    "array",
    [LABELS, np.zeros(0, np.int64), np.zeros((2, 0), np.int64), np.ones((2, 2), np.float32)],
)
def test_an_answer_is_the_array_that_was_sent(kind, answer, array):
    with connected(kind) as one:
        found = one.decode(answer(array), "labels")
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
        assert one.decode(answer(array), "edges") is None


class Handler(BaseHTTPRequestHandler):
    """Notes the requests and answers as the test says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.client_address, self.path, dict(self.headers), body))
        status, answer, json_size = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if json_size is not None:
            self.send_header("Inference-Header-Content-Length", str(json_size))
        for name, value in self.server.more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def http_server():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.answer = [], (200, *http_answer(LABELS))
        server.more = {}
        server.url = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_an_http_request_is_what_tritonclient_sends(http_server):
    module = tritonclient.http
    with module.InferenceServerClient(http_server.url) as client:
        client.infer("gnn", **tensors(module), request_id="a/gnn")
    with connected(HttpTransport, http_server.url, token="secret") as ours:
        for _ in range(2):
            answer = ours.call(ours.encode("gnn", INPUTS, "labels", "a/gnn"))
            np.testing.assert_array_equal(ours.decode(answer, "labels"), LABELS)
    theirs, first, second = http_server.requests
    assert theirs[1] == first[1] == "/v2/models/gnn/infer"
    assert theirs[3] == first[3]
    assert first[2] == theirs[2] | {"exatrkx-token": "secret"}
    assert first[0] == second[0]  # the connection is kept


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"error": "no such model"}', "no such model"),
        (b"<html>Bad Gateway</html>", "Bad Gateway"),
        (b'["odd"]', "odd"),
        (b"", "answer is empty"),
    ],
)
def test_an_http_error_says_what_the_server_said(http_server, answer, message):
    http_server.answer = (502, answer, None)
    with (
        connected(HttpTransport, http_server.url) as one,
        pytest.raises(InferenceServerException, match=message) as caught,
    ):
        one.call(one.encode("gnn", INPUTS, "labels", "x"))
    assert caught.value.status() == "502"


@pytest.fixture
def grpc_server():
    """A server whose answer is a function of the request's bytes."""

    def infer(request, context):
        return server.answer(request, context)

    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.unary_unary_rpc_method_handler(infer)
    service, method = transport.METHOD.strip("/").split("/")
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {method: handler})]
    )
    server.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield server
    server.stop(0)


def test_a_grpc_call_carries_the_bytes_and_the_token(grpc_server):
    got = []

    def answer(request, context):
        got.append((request, dict(context.invocation_metadata())))
        return grpc_answer(LABELS)

    grpc_server.answer = answer
    with connected(GrpcTransport, grpc_server.url, token="secret") as one:
        message = one.encode("gnn", INPUTS, "labels", "x")
        np.testing.assert_array_equal(one.decode(one.call(message), "labels"), LABELS)
    (request, metadata), *_ = got
    assert request == message
    assert metadata["triton-grpc-protocol-exatrkx-token"] == "secret"


def test_a_grpc_error_says_what_the_server_said(grpc_server):
    grpc_server.answer = lambda _, context: context.abort(
        grpc.StatusCode.NOT_FOUND, "no such model"
    )
    with (
        connected(GrpcTransport, grpc_server.url) as one,
        pytest.raises(InferenceServerException, match="no such model") as caught,
    ):
        one.call(b"")
    assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_a_call_ends_when_its_time_is_over(grpc_server, http_server):
    wait = threading.Event()
    grpc_server.answer = lambda *_: wait.wait(20) and b""
    http_server.requests = type("Slow", (), {"append": lambda *_: wait.wait(20)})()
    urls = {GrpcTransport: grpc_server.url, HttpTransport: http_server.url}
    try:
        for kind, url in urls.items():
            with connected(kind, url, timeout_s=0.2) as one, pytest.raises(TimeoutError):
                one.call(one.encode("gnn", INPUTS, "labels", "x"))
    finally:
        wait.set()


RETRY_INFO = b"\x08\x0e\x1a(type.googleapis.com/google.rpc.RetryInfo"
GRPC_ERRORS = [
    ("RESOURCE_EXHAUSTED", "quota of this user", (), True),
    ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", (), False),
    ("UNAVAILABLE", "busy", (("retry-after", "3"),), True),
    ("UNAVAILABLE", "busy", (("grpc-retry-pushback-ms", "300"),), True),
    ("UNAVAILABLE", "busy", (("grpc-status-details-bin", RETRY_INFO),), True),
    ("UNAVAILABLE", "Exceeds maximum queue size", (), True),
    ("UNAVAILABLE", "going down", (), False),
    ("INTERNAL", "broken", (("retry-after", "3"),), False),
]


@pytest.mark.parametrize(("code", "details", "trailing", "rejected"), GRPC_ERRORS)
def test_a_grpc_request_that_was_turned_away(grpc_server, code, details, trailing, rejected):
    def answer(_, context):
        context.set_trailing_metadata(trailing)
        context.abort(grpc.StatusCode[code], details)

    grpc_server.answer = answer
    with (
        connected(GrpcTransport, grpc_server.url) as one,
        pytest.raises(InferenceServerException, match=re.escape(details)) as caught,
    ):
        one.call(b"")
    assert isinstance(caught.value, Rejected) == rejected


@pytest.mark.parametrize(
    ("status", "headers", "answer", "rejected"),
    [
        (429, {}, b"slow down", True),
        (503, {"Retry-After": "2"}, b"later", True),
        (503, {}, b'{"error": "Exceeds maximum queue size"}', True),
        (503, {}, b"broken", False),
        (500, {"Retry-After": "2"}, b"broken", False),
    ],
)
def test_an_http_request_that_was_turned_away(http_server, status, headers, answer, rejected):
    http_server.answer, http_server.more = (status, answer, None), headers
    with (
        connected(HttpTransport, http_server.url) as one,
        pytest.raises(InferenceServerException) as caught,
    ):
        one.call(one.encode("gnn", INPUTS, "labels", "x"))
    assert isinstance(caught.value, Rejected) == rejected


def test_a_version_is_part_of_the_request(http_server):
    with connected(HttpTransport, http_server.url) as one:
        one.call(one.encode("their model", INPUTS, "labels", "x", "3"))
    assert http_server.requests[0][1] == "/v2/models/their%20model/versions/3/infer"
    with connected(GrpcTransport) as one:
        message = one.encode("gnn", INPUTS, "labels", "x", "3")
    assert ModelInferRequest.FromString(message).model_version == "3"


def test_what_a_server_repeats_of_a_secret_header_is_masked(grpc_server, http_server, monkeypatch):
    monkeypatch.setenv("PASS", "Bearer s3cret")
    access = Access(variables={"Authorization": "PASS"})
    got = []

    def answer(_, context):
        got.append(dict(context.invocation_metadata())["authorization"])
        context.abort(grpc.StatusCode.INTERNAL, f"no {got[0]}, s3cret")

    grpc_server.answer = answer
    http_server.answer = (500, b"no Bearer s3cret, s3cret", None)
    for kind, server in ((GrpcTransport, grpc_server), (HttpTransport, http_server)):
        one = kind(server.url, 5, access)
        with pytest.raises(InferenceServerException, match=r"no \*\*\*, \*\*\*"):
            one.call(one.encode("gnn", INPUTS, "labels", "x"))
        one.close()
    assert got == ["Bearer s3cret"]
    assert http_server.requests[0][2]["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(access) and b"s3cret" not in pickle.dumps(access)
