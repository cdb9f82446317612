"""The model that computes nothing, on a real server."""

import sys

import numpy as np
import psutil
import pytest

from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.measure.calls import null_tensors
from exatrkx_service.measure.clients import Task, client_threads, make_ready
from exatrkx_service.measure.floor import measure_floor, null_model
from exatrkx_service.options import NULL
from exatrkx_service.pipeline.pipeline import LocalStep
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import NULL_SPEC
from exatrkx_service.serving.journal import cold_processes
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.memory import tensor_bytes

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the embedded server is a Linux program"
)


def children(server):
    return {process.pid for process in psutil.Process(server.process.pid).children(recursive=True)}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_it_answers_with_as_much_as_it_is_asked_for(
    protocol, repository, settings, config, tmp_path
):
    with launch(repository, [NULL], tmp_path / "w", settings, config["pipeline"]) as server:
        client = Client(
            server.grpc_url if protocol == "grpc" else server.http_url, protocol, timeout_s=20
        )
        step = RemoteStep(client, NULL, NULL, NULL_SPEC.inputs, NULL_SPEC.output)
        for n_input, n_output in ((4000, 80), (0, 400), (12, 0)):
            tensors = null_tensors(n_input, n_output)
            step(tensors, Stopwatch(), f"t/{n_input}")
            assert tensors["answer"].dtype == np.float32
            assert tensors["answer"].shape == (n_output // 4,)
        client.close()


def test_the_floor_of_a_job(repository, settings, config, tmp_path):
    """It is there while it is measured, and then its process is gone; the token is known."""
    arguments = (repository, ["labeling"], tmp_path / "w", settings, config["pipeline"])
    sizes = tensor_bytes(1000, 4000, 2000)
    with launch(*arguments, token="secret") as server:
        before = children(server)
        task = Task(None, repository, config["pipeline"], url=server.grpc_url, token="secret")
        step = RemoteStep(None, "gnn", "gnn", ("space_points", "filtered_edges"), "edge_scores")
        with client_threads(make_ready(task), 2, {}) as crew, null_model(server) as there:
            assert there and children(server) > before
            crew.ready(server.check_alive)
            steps = [LocalStep("building", None), step]
            rows = measure_floor(crew, steps, sizes, [1, 2], server.check_alive)
        assert children(server) == before
        assert [(row["stage"], row["clients"]) for row in rows] == [("gnn", 1), ("gnn", 2)]
        for row in rows:
            assert row["input_bytes"] == sizes["space_points"] + sizes["filtered_edges"]
            assert row["output_bytes"] == sizes["edge_scores"]
            assert row["p50_ms"] > 0 and row["rate_evt_s"] > 0
        journals = server.journals
    # Its process was warm, which says nothing of the models that are measured.
    assert len(cold_processes(journals)) == 1
