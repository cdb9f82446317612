"""The native backend of the networks: compiled, and in a real server."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import tritonclient.grpc as grpcclient
from google.protobuf import text_format
from real_server import MARKS, assert_all_gone, family, region_of
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.compiled import NotCompiled
from exatrkx_service.identity import with_networks
from exatrkx_service.measure.statistics import describe_models, read_counts
from exatrkx_service.measure.trace import read_trace
from exatrkx_service.models.export import WEIGHTS, export_all, read_check_events
from exatrkx_service.options import ENSEMBLE, FUSED, NETWORKS, STAGES, Option
from exatrkx_service.pipeline.device import place_constants
from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.pipeline.stages import IDENTITY, make_stage, script_path
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS, to_numpy
from exatrkx_service.serving import native
from exatrkx_service.serving.journal import read_journals
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

    settings |= {"instances": dict.fromkeys(NETWORKS, 2), "threads": 2}
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
        for model in describe_models(server, NETWORKS).values():
            assert (model["instances"], model["threads"]) == (2, 2)
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


def test_all_stages_are_served_in_the_servers_process(
    compiled, settings, config, tmp_path, kernel_library
):
    pipeline = with_networks(config["pipeline"])
    assert pipeline["kernel_library"] == kernel_library
    export_all(WEIGHTS, compiled, pipeline)
    events = [*read_check_events(), np.empty((0, 3), np.float32), np.ones((1, 3), np.float32)]
    home = local_pipeline(compiled, pipeline)
    models = (*STAGES, ENSEMBLE, FUSED)
    arguments = (compiled, models, tmp_path / "w", settings, pipeline)
    with launch(*arguments) as server:
        processes = family(server.process.pid)
        region = region_of(processes)
        assert [process.name() for process in processes[1:]] == ["tritonserver"]
        assert set(server.native) == set(STAGES)
        client = Client(server.grpc_url, "grpc", 60)
        for number, points in enumerate(events):
            expected = home(points)
            for serve in (list(STAGES), "ensemble", "fused"):
                option = Option.from_config("S", {"serve": serve})
                found = Placement(option, compiled, pipeline).pipeline(client)
                tensors = found(points, Stopwatch(), f"{option.mode}/{number}")
                for name in tensors.keys() & expected.keys():
                    np.testing.assert_array_equal(to_numpy(tensors[name]), to_numpy(expected[name]))
        client.close()
    assert_all_gone(processes, server.grpc_url, region)
    # The fused model notes when each of its stages was done.
    journals = read_journals(server.journals)
    requests = read_trace(server.trace)
    assert set(journals) == {f"fused/{number}/pipeline" for number in range(len(events))}
    for name, notes in journals.items():
        assert [lap[:2] for lap in notes] == [(stage, "compute_infer") for stage in STAGES]
        parts = list(requests[name].parts(FUSED, notes, server.native))
        ends = [lap.start_ns + lap.duration_ns for lap in parts]
        assert all(lap.start_ns == end for lap, end in zip(parts[1:], ends, strict=False))


def test_the_walk_through_stays_in_python(compiled, settings, config, tmp_path, kernel_library):
    pipeline = with_networks(config["pipeline"] | {"labeling": "walkthrough"})
    models = ("building", "labeling")
    with launch(compiled, models, tmp_path / "w", settings, pipeline) as server:
        names = [process.name() for process in family(server.process.pid)[1:]]
        assert names[0] == "tritonserver" and len(names) == 2
        assert "building" in server.native and "labeling" not in server.native


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


class Laps(torch.nn.Module):
    """An embedding that notes when it is half done, and fails for some events then."""

    def forward(self, space_points: torch.Tensor) -> torch.Tensor:
        torch.ops.exatrkx.lap(space_points, "half")
        if space_points.size(0) == 3:
            raise ValueError("three points are too many")
        torch.ops.exatrkx.lap(space_points, "all")
        return space_points


def test_notes_are_those_of_the_request_alone(compiled, settings, config, tmp_path, kernel_library):
    pipeline = with_networks(config["pipeline"])
    put(Laps(), compiled, pipeline)
    arguments = (compiled, ["embedding"], tmp_path / "w", settings, pipeline)
    with launch(*arguments) as server:
        client = Client(server.grpc_url, "grpc", 20)
        for number, n in enumerate((2, 3, 3, 2)):
            given = {"space_points": points_of(n)}
            with contextlib.suppress(InferenceServerException):
                remote(client, "embedding")(given, Stopwatch(), f'{number}, "it"')
        client.close()
    notes = read_journals(server.journals)
    assert set(notes) == {f'{number}, "it"/embedding' for number in (0, 3)}
    for laps in notes.values():
        assert [lap.stage for lap in laps] == ["half", "all"]
        assert all(0 <= lap.duration_ns < 1e9 for lap in laps)


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


def test_where_it_can_not_be_compiled_python_serves(tmp_path, monkeypatch):
    def fail(library, say, check):
        raise NotCompiled("no compiler")

    monkeypatch.setattr(native, "make", fail)
    choice = choose_backend(tmp_path / "m" / CHOICE, "auto")
    assert choice == {"backend": "python", "reason": "no compiler"} == read_choice(tmp_path / "m")
    with pytest.raises(NotCompiled, match=r"server\.backend: native: no compiler"):
        choose_backend(tmp_path / "m" / CHOICE, "native")
    choice = choose_backend(tmp_path / "m" / CHOICE, "python")
    assert choice["reason"] == "server.backend: python" and choice == read_choice(tmp_path / "m")


def test_a_library_that_can_not_be_loaded_is_refused(tmp_path):
    library = tmp_path / "x.so"
    library.write_text("no")
    with pytest.raises(NotCompiled, match=r"what was compiled can't be loaded: .*too short"):
        native._check(library)


def test_a_choice_that_holds_no_more_is_told(tmp_path):
    library = tmp_path / "lib.so"
    choice = {"backend": "native", "library": str(library), "compiler": "c", "torch": "0.1"}
    (tmp_path / CHOICE).write_text(json.dumps(choice))
    with pytest.raises(ServerError, match=r"lib\.so: no such file, named in .*backend\.json"):
        read_choice(tmp_path)
    library.touch()
    with pytest.raises(ServerError, match=r"made for torch 0\.1, installed is .*compile_libraries"):
        read_choice(tmp_path)
