"""The native backend of the networks: compiled, and in a real server."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.grpc as grpcclient
from google.protobuf import text_format
from real_server import MARKS, assert_all_gone, family, region_of
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.measure.statistics import read_counts
from exatrkx_service.measure.trace import read_trace
from exatrkx_service.models.export import WEIGHTS, export_all, read_check_events
from exatrkx_service.options import NETWORKS
from exatrkx_service.pipeline.device import place_constants
from exatrkx_service.pipeline.stages import IDENTITY, make_stage, script_path
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS, to_numpy
from exatrkx_service.serving import native
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.native import CHOICE, choose_backend, read_choice
from exatrkx_service.serving.repository import read_config
from exatrkx_service.serving.server import ServerError

pytestmark = MARKS


@pytest.fixture
def compiled(repository):
    """A model repository whose networks the native backend serves."""
    choice = choose_backend(repository / CHOICE, "auto")
    if choice["backend"] == "python":
        pytest.skip(choice["reason"])
    return repository


def remote(client, stage):
    return RemoteStep(client, stage, stage, SPECS[stage].inputs, SPECS[stage].output)


def local_answers(repository, pipeline, events):
    """The tensors of each event, by the code that a client runs."""
    stages = {name: make_stage(name, repository, pipeline) for name in (*NETWORKS, "building")}
    for points in events:
        tensors = {"space_points": points}
        for name in ("embedding", "building", "filtering", "gnn"):
            spec = SPECS[name]
            tensors[spec.output] = to_numpy(stages[name](*(tensors[i] for i in spec.inputs)))
        yield tensors


def test_answers_are_those_of_the_client_to_the_bit(compiled, settings, config, tmp_path):
    export_all(WEIGHTS, compiled, config["pipeline"])
    events = [*read_check_events(), np.empty((0, 3), np.float32), np.ones((1, 3), np.float32)]
    expected = list(local_answers(compiled, config["pipeline"], events))

    def client_of(protocol, number):
        client = Client(server.url(protocol), protocol, 60)
        for i, answers in enumerate(expected):
            for stage in NETWORKS:
                given = {name: answers[name] for name in SPECS[stage].inputs}
                remote(client, stage)(given, Stopwatch(), f"{protocol}{number}/{i}")
                output = SPECS[stage].output
                found = to_numpy(given[output])
                assert found.dtype == answers[output].dtype
                np.testing.assert_array_equal(found, answers[output])
        client.close()

    settings["instances"] = 2
    arguments = (compiled, NETWORKS, tmp_path / "w", settings, config["pipeline"])
    with launch(*arguments) as server:
        assert server.native == NETWORKS and server.networks.startswith("native backend, of torch")
        processes = family(server.process.pid)
        region = region_of(processes)
        assert [process.name() for process in processes[1:]] == ["tritonserver"]
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(client_of, p, n) for p in ("grpc", "http") for n in range(2)]
            for job in jobs:
                job.result()
        counts = read_counts(server, NETWORKS)
        # What is unloaded and loaded again answers as before.
        with grpcclient.InferenceServerClient(server.grpc_url) as control:
            for stage in NETWORKS:
                control.unload_model(stage)
            for stage in NETWORKS:
                control.load_model(stage)
        client_of("grpc", "again")
    assert_all_gone(processes, server.grpc_url, region)
    n_requests = 4 * len(events)
    for stage in NETWORKS:
        for part in ("queue", "compute_input", "compute_infer", "compute_output"):
            assert counts[stage][part][0] == n_requests, (stage, part)
        assert counts[stage]["compute_infer"][1] > 0
    requests = read_trace(server.trace)
    parts = [lap.part for lap in requests["grpc0/0/gnn"].parts("gnn", [], NETWORKS)]
    assert parts == ["queue", "compute_input", "compute_infer", "compute_output"]


class Picky(torch.nn.Module):
    """An embedding that fails for some events."""

    def forward(self, space_points: torch.Tensor) -> torch.Tensor:
        if space_points.size(0) == 3:
            raise ValueError("three points are too many")
        if space_points.size(0) == 4:
            return space_points[:, 0]
        if space_points.size(0) == 5:
            return space_points.double()
        return space_points + torch.ones(3, device="cpu")


class TwoInputs(torch.nn.Module):
    def forward(self, space_points: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        return space_points


class Pair(torch.nn.Module):
    def forward(self, space_points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return space_points, space_points


def put(module, repository, pipeline, *, device="cpu"):
    """Puts a network in the place of the embedding, with the identity that is expected."""
    path = script_path(repository, "embedding")
    path.parent.mkdir(exist_ok=True)
    scripted = torch.jit.script(module)
    place_constants(scripted, device)
    identity = json.dumps(pipeline["networks"]["embedding"])
    torch.jit.save(scripted, path, _extra_files={IDENTITY: identity})
    return path


def ask(server, points):
    client = Client(server.grpc_url, "grpc", 20)
    given = {"space_points": points}
    try:
        remote(client, "embedding")(given, Stopwatch(), "x")
    finally:
        client.close()
    return to_numpy(given["embedding"])


def points_of(n):
    return np.arange(3 * n, dtype=np.float32).reshape(n, 3)


def test_a_network_that_fails_costs_its_request_alone(compiled, settings, config, tmp_path):
    # As it was saved on a GPU: the device that its code names is there no more.
    put(Picky(), compiled, config["pipeline"], device="cuda")
    arguments = (compiled, ["embedding"], tmp_path / "w", settings, config["pipeline"])
    with launch(*arguments) as server:
        wrong = "expected TYPE_FP32 [-1, -1], as its configuration says"
        for n, reasons in (
            (3, ["embedding: the network failed: ", "three points are too many"]),
            (4, [f"embedding: output embedding: the network gave Float [4], {wrong}"]),
            (5, [f"embedding: output embedding: the network gave Double [5, 3], {wrong}"]),
        ):
            with pytest.raises(InferenceServerException) as caught:
                ask(server, points_of(n))
            assert all(reason in str(caught.value) for reason in reasons), caught.value
            np.testing.assert_array_equal(ask(server, points_of(2)), points_of(2) + 1)
        counts = read_counts(server, ["embedding"])["embedding"]
        assert counts["compute_infer"][0] == 3
        for name, dtype, reason in (
            ("points", np.float32, "unexpected inference input 'points'"),
            ("space_points", np.float64, "data-type is 'FP64', but .* expects 'FP32'"),
        ):
            tensor = grpcclient.InferInput(name, [2, 3], {4: "FP32", 8: "FP64"}[dtype().itemsize])
            tensor.set_data_from_numpy(np.zeros((2, 3), dtype))
            with (
                grpcclient.InferenceServerClient(server.grpc_url) as client,
                pytest.raises(InferenceServerException, match=reason),
            ):
                client.infer("embedding", [tensor])


def change(repository, **values):
    """Changes keys of the embedding's configuration; a key may be a message's text."""
    path = repository / "embedding" / "config.pbtxt"
    config = read_config(path)
    for key, value in values.items():
        setattr(config, key, value)
    path.write_text(text_format.MessageToString(config))


def test_what_it_can_not_serve_is_refused(compiled, settings, config, tmp_path):
    pipeline = config["pipeline"]

    def refused(reason, number):
        with (
            pytest.raises(ServerError, match=reason),
            launch(compiled, ["embedding"], tmp_path / f"w{number}", settings, pipeline),
        ):
            pass

    refused(r"embedding/1/model\.pt: no such file; `snakemake export` makes it", 0)
    path = put(TwoInputs(), compiled, pipeline)
    refused(r"embedding/1/model\.pt: the network takes 2 inputs, the configuration has 1", 1)
    put(Picky(), compiled, pipeline)
    change(compiled, max_batch_size=8)
    refused("embedding: max_batch_size: expected 0, for this backend does not batch", 2)
    change(compiled, max_batch_size=0)
    # The archive of another kind of model, with the identity in it.
    text = path.read_bytes().replace(b"code/__torch__", b"code/__torsh__")
    path.write_bytes(text)
    refused(r"embedding/1/model\.pt: expected a TorchScript file: ", 3)
    path.write_bytes(text[: len(text) // 2])
    refused(r"embedding/1/model\.pt: expected a TorchScript file: File is not a zip file", 4)


def test_a_network_with_two_answers_is_an_error_of_the_request(
    compiled, settings, config, tmp_path
):
    put(Pair(), compiled, config["pipeline"])
    arguments = (compiled, ["embedding"], tmp_path / "w", settings, config["pipeline"])
    with (
        launch(*arguments) as server,
        pytest.raises(InferenceServerException, match="the network gave Tuple, expected TYPE_FP32"),
    ):
        ask(server, points_of(2))


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        (None, r"there is no C\+\+ compiler: none of c\+\+, g\+\+, clang\+\+ on PATH"),
        ("exit 3", r"the C\+\+ compiler .*/cxx does not run"),
        ("echo 1.2; echo 'x.cpp:1: error: no' >&2; [ $# = 1 ]", ".*/cxx fails: x.cpp:1: error: no"),
        # It makes a library that is none.
        (
            'echo 1.2; for last; do :; done; [ $# = 1 ] || echo no > "$last"',
            "the compiled backend can't be loaded: .*: file too short",
        ),
    ],
)
def test_where_it_can_not_be_compiled_python_serves(tmp_path, monkeypatch, compiler, reason):
    monkeypatch.setattr(native, "_places", lambda: [tmp_path / "cache"])
    if compiler is None:
        monkeypatch.setattr(native.shutil, "which", lambda name: None)
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", str(program(tmp_path / "cxx", compiler)))
    choice = choose_backend(tmp_path / "m" / CHOICE, "auto")
    assert choice["backend"] == "python" and choice == read_choice(tmp_path / "m")
    with pytest.raises(ServerError, match=f"server.backend: native: {reason}"):
        choose_backend(tmp_path / "m" / CHOICE, "native")
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert left == []


def test_it_is_compiled_once_for_each_source_and_compiler(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(native, "_places", lambda: [tmp_path / "cache"])
    monkeypatch.setattr(native, "_compile", lambda command, path: calls.append(path.touch()))
    monkeypatch.setenv("CXX", str(program(tmp_path / "cxx", "echo 1.2")))
    first = choose_backend(tmp_path / CHOICE, "native")
    assert choose_backend(tmp_path / CHOICE, "auto") == first and len(calls) == 1
    assert first["compiler"] == "1.2" and Path(first["library"]).is_file()
    program(tmp_path / "cxx", "echo 1.3")
    assert choose_backend(tmp_path / CHOICE, "auto")["library"] != first["library"]
    assert len(calls) == 2


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_it_needs_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "_places", lambda: [Path("/proc/no")])
    monkeypatch.setenv("CXX", str(program(tmp_path / "cxx", "echo 1.2")))
    with pytest.raises(ServerError, match=r"no folder to put the native backend into: /proc/no"):
        choose_backend(tmp_path / CHOICE, "native")


def test_a_choice_that_holds_no_more_is_told(tmp_path):
    library = tmp_path / "lib.so"
    choice = {"backend": "native", "library": str(library), "compiler": "c", "torch": "0.1"}
    (tmp_path / CHOICE).write_text(json.dumps(choice))
    with pytest.raises(ServerError, match=r"lib\.so: no such file, named in .*backend\.json"):
        read_choice(tmp_path)
    library.touch()
    with pytest.raises(ServerError, match=r"made for torch 0\.1, installed is .*compile_backend"):
        read_choice(tmp_path)
