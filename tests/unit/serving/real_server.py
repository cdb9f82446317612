"""What the tests with a real embedded server share."""

import socket
import sys

import numpy as np
import psutil
import pytest

from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.pipeline.tensors import SPECS
from exatrkx_service.serving.guard import FOLDERS, SHARED_MEMORY

MARKS = [
    pytest.mark.skipif(sys.platform != "linux", reason="the embedded server is a Linux program"),
    pytest.mark.usefixtures("no_folder_of_a_backend_is_left"),
]


def family(pid):
    """A process and its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def region_of(processes):
    """Beginning of the names of a server's shared memory: an argument of its guard."""
    arguments = processes[0].cmdline()
    return arguments[arguments.index("exatrkx_service.serving.guard") + 2]


def assert_all_gone(processes, url, region):
    """No process, port or shared memory is left; the server gets time to stop by itself."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive, alive
    with socket.socket() as probe:
        assert probe.connect_ex((url.split(":")[0], int(url.split(":")[1]))) != 0
    assert not list(SHARED_MEMORY.glob(f"{region}*"))


def backend_folders():
    place, pattern = FOLDERS
    return set(place.glob(pattern))


def labeling_step(server, protocol="grpc"):
    url = server.url(protocol)
    client = Client(url, protocol, 20)
    return client, RemoteStep(client, "labeling", "labeling", SPECS["labeling"].inputs, "labels")


def tensors(n, edges):
    return {
        "space_points": np.zeros((n, 3), np.float32),
        "filtered_edges": np.array(edges, np.int32).reshape(2, -1),
        "edge_scores": np.ones(len(edges[0]), np.float32),
    }
