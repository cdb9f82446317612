"""A server or a model that ends, stops or hangs while it is measured, with the real server."""

import signal

import numpy as np
import pytest
from real_server import MARKS, assert_all_gone, family, labeling_step, region_of, tensors

from exatrkx_service.client.remote import Client, RemoteStep, RequestTimeout
from exatrkx_service.measure import backlog
from exatrkx_service.measure.clients import client_threads
from exatrkx_service.measure.load import OPTION, Item
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.server import ServerError

pytestmark = MARKS


def send_all(step, client, server):
    """One client sends an event over and over."""
    events = {0: np.zeros((5, 3), np.float32)}
    with client_threads(lambda: ({OPTION: Pipeline([step])}, client), 1, events) as crew:
        crew.ready(server.check_alive)
        while True:
            items = [Item(OPTION, 0, number) for number in range(100)]
            for share in crew.turn(1, items, "x", server.check_alive):
                if any(sample.error for sample in share.samples):
                    server.check_alive(wait_s=10)


def test_a_server_that_dies_under_load_is_an_error(repository, settings, config, tmp_path):
    def dies_after_some(tensors_, watch, request_id):
        if request_id.endswith("/30"):
            processes[1].kill()
            server.process.wait()
        tensors_ |= tensors(5, [[0], [1]])
        step(tensors_, watch, request_id)

    with (
        pytest.raises(ServerError, match="the server ended with code 137; the end of its log"),
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server,
    ):
        processes = family(server.process.pid)
        region = region_of(processes)
        client, step = labeling_step(server)
        send_all(dies_after_some, client, server)
    assert_all_gone(processes, server.grpc_url, region)


@pytest.mark.parametrize(
    ("number", "what"), [(signal.SIGKILL, "was ended by SIGKILL"), (signal.SIGSTOP, "was stopped")]
)
def test_a_model_that_is_killed_or_stopped_ends_the_measuring_at_once(
    repository, settings, config, tmp_path, number, what
):
    def step_on(tensors_, watch, request_id):
        if request_id.endswith("/30"):
            model.send_signal(number)
        tensors_ |= tensors(5, [[0], [1]])
        step(tensors_, watch, request_id)

    with (
        pytest.raises(ServerError) as caught,
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server,
    ):
        processes = family(server.process.pid)
        region = region_of(processes)
        (model,) = (p for p in processes if p.name().startswith("triton_python_b"))
        client, step = labeling_step(server)
        send_all(step_on, client, server)
    assert f"the process of the model labeling (process {model.pid}) {what}" in str(caught.value)
    assert f"the end of its log {server.log}" in str(caught.value)
    # Nor does the server's end take the time that models get: it is killed.
    assert_all_gone(processes, server.grpc_url, region)


HANGS = """
import time
class TritonPythonModel(TritonPythonModel):
    def execute(self, requests):
        if not requests[0].request_id().startswith("first"):
            time.sleep(1000)
        return super().execute(requests)
"""


def test_a_model_that_hangs_ends_the_measuring(repository, settings, config, tmp_path, monkeypatch):
    monkeypatch.setattr(backlog, "PATIENCE_S", 2)
    model = repository / "labeling" / "1" / "model.py"
    model.write_text(model.read_text() + HANGS)
    arguments = (repository, ["labeling"], tmp_path / "w", settings, config["pipeline"])
    with (
        pytest.raises(ServerError, match=r"the server hangs: .* \(1 of labeling\) in 2 s, after"),
        launch(*arguments) as server,
    ):
        processes = family(server.process.pid)
        region = region_of(processes)
        client = Client(server.grpc_url, "grpc", 1)
        step = RemoteStep(client, "labeling", "labeling", SPECS["labeling"].inputs, "labels")
        step(tensors(5, [[0], [1]]), Stopwatch(), "first")
        behind = backlog.Backlog(server, ["labeling"], lambda: [client.sent])
        with pytest.raises(RequestTimeout, match="labeling: no answer within"):
            step(tensors(5, [[0], [1]]), Stopwatch(), "second")
        behind.drain(server.check_alive, backlog.PATIENCE_S)
    assert_all_gone(processes, server.grpc_url, region)


SLOW = HANGS.replace("1000", "3")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_the_client_has_given_up_is_waited_for(
    repository, settings, config, tmp_path, protocol
):
    model = repository / "labeling" / "1" / "model.py"
    model.write_text(model.read_text() + SLOW)
    with launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server:
        url = server.url(protocol)
        client = Client(url, protocol, 0.5)
        step = RemoteStep(client, "labeling", "labeling", SPECS["labeling"].inputs, "labels")
        step(tensors(5, [[0], [1]]), Stopwatch(), "first")
        behind = backlog.Backlog(server, ["labeling"], lambda: [client.sent])
        with pytest.raises(RequestTimeout):
            step(tensors(5, [[0], [1]]), Stopwatch(), "second")
        assert behind.owed() == {"labeling": 1}
        behind.drain(server.check_alive)
        assert not behind.owed()
        step(tensors(5, [[0], [1]]), Stopwatch(), "first again")
        client.close()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_request_lost_with_its_server_is_told_as_the_servers_end(
    repository, settings, config, tmp_path, protocol
):
    with (
        pytest.raises(ServerError, match="the server ended with code 137; the end of its log"),
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server,
    ):
        _, triton, *_ = family(server.process.pid)
        _, step = labeling_step(server, protocol)
        triton.kill()
        step(tensors(5, [[0], [1]]), Stopwatch(), "x")
