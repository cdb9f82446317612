"""The model that computes nothing, on a real server."""

import sys

import numpy as np
import psutil
import pytest

from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.measure.calls import null_tensors
from exatrkx_service.measure.clients import Task
from exatrkx_service.measure.floor import measure_floor
from exatrkx_service.options import NULL
from exatrkx_service.pipeline.pipeline import LocalStep
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import NULL_SPEC
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.memory import tensor_bytes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the embedded server is a Linux program"
)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_it_answers_with_as_much_as_it_is_asked_for(
    protocol, repository, settings, config, tmp_path
):
    with launch(repository, [NULL], tmp_path / "w", settings, config["pipeline"]) as server:
        client = Client(server.url(protocol), protocol, timeout_s=20)
        step = RemoteStep(client, NULL, NULL, NULL_SPEC.inputs, NULL_SPEC.output)
        for n_input, n_output in ((4000, 80), (0, 400), (12, 0)):
            tensors = null_tensors(n_input, n_output)
            step(tensors, Stopwatch(), f"t/{n_input}")
            assert tensors["answer"].dtype == np.float32
            assert tensors["answer"].shape == (n_output // 4,)
        client.close()


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_the_floor_of_a_job(kind, repository, settings, config, tmp_path, root, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))  # for clients that are processes
    sizes = tensor_bytes(1000, 4000, 2000)
    plan = {"clients": kind, "concurrency": [2, 1], "block_s": 0.3}
    step = RemoteStep(None, "gnn", "gnn", ("space_points", "filtered_edges"), "edge_scores")
    steps = [LocalStep("building", None), step]
    arguments = (repository, [NULL], tmp_path / "w", settings, config["pipeline"])
    with launch(*arguments, token="secret") as server:
        task = Task(
            *(None, repository, config["pipeline"], "grpc", server.grpc_url, server.access),
            control=False,
        )
        rows = measure_floor(server, plan, task, steps, sizes)
    assert [(row["stage"], row["clients"]) for row in rows] == [("gnn", 1), ("gnn", 2)]
    for row in rows:
        assert row["input_bytes"] == sizes["space_points"] + sizes["filtered_edges"]
        assert row["output_bytes"] == sizes["edge_scores"]
        assert row["p50_ms"] > 0 and row["rate_evt_s"] > 0


def test_a_server_that_dies_is_told(repository, settings, config, tmp_path):
    plan = {"clients": "threads", "concurrency": [1]}
    step = RemoteStep(None, "gnn", "gnn", ("space_points",), "edge_scores")
    arguments = (repository, [NULL], tmp_path / "w", settings, config["pipeline"])
    with launch(*arguments) as server:
        task = Task(None, repository, config["pipeline"], url=server.grpc_url, control=False)
        tritonserver = next(
            process
            for process in psutil.Process(server.process.pid).children(recursive=True)
            if process.name() == "tritonserver"
        )
        tritonserver.kill()
        tritonserver.wait(20)  # its model's process goes with it, and may be gone first
        with pytest.raises(ServerError, match=r"the server .*ended.*; the end of its log"):
            measure_floor(server, plan, task, [step], tensor_bytes(10, 10, 10))
