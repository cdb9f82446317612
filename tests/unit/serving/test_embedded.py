"""The life cycle of the embedded server, with the real one."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from exatrkx_service.client.remote import Client, RemoteStep, RequestTimeout
from exatrkx_service.measure import backlog
from exatrkx_service.measure.clients import client_threads
from exatrkx_service.measure.load import OPTION, Item
from exatrkx_service.models.export import WEIGHTS, export
from exatrkx_service.paths import weights_file
from exatrkx_service.pipeline.labeling import label_tracks
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import SPECS
from exatrkx_service.serving import embedded
from exatrkx_service.serving import launch as launcher
from exatrkx_service.serving.guard import FOLDERS, SHARED_MEMORY
from exatrkx_service.serving.journal import read_journals
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.memory import tensor_bytes
from exatrkx_service.serving.server import ServerError, free_ports

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the embedded server is a Linux program"
)


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


@pytest.fixture(autouse=True)
def no_folder_of_a_backend_is_left():
    place, pattern = FOLDERS
    before = set(place.glob(pattern))
    yield
    left = set(place.glob(pattern)) - before
    # One of a server that other tests run meanwhile is no fault, and goes with it.
    names = {process.info["name"] for process in psutil.process_iter(["name"])}
    assert not left or "tritonserver" in names


def labeling_step(server, protocol="grpc"):
    url = server.url(protocol)
    client = Client(url, protocol, 20)
    return client, RemoteStep(client, "labeling", "labeling", SPECS["labeling"].inputs, "labels")


def tensors(n, edges):
    return {
        "space_points": np.zeros((n, 3), np.float32),
        "filtered_edges": np.array(edges, np.int64).reshape(2, -1),
        "edge_scores": np.ones(len(edges[0]), np.float32),
    }


def test_serves_and_leaves_nothing_behind(repository, settings, config, tmp_path):
    with launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server:
        processes = family(server.process.pid)
        region = region_of(processes)
        _, triton, *models = processes
        assert triton.name() == "tritonserver" and models
        listening = [c for c in triton.net_connections() if c.status == psutil.CONN_LISTEN]
        assert len(listening) >= 3
        assert all(c.laddr.ip.removeprefix("::ffff:") == "127.0.0.1" for c in listening)
        for protocol in ("grpc", "http"):
            client, step = labeling_step(server, protocol)
            # The empty event and the event without edges are valid on every way.
            for n, edges in ((4, [[0, 1], [1, 3]]), (3, [[], []]), (0, [[], []])):
                given = tensors(n, edges)
                step(given, Stopwatch(), f"{protocol}{n}")
                np.testing.assert_array_equal(
                    given["labels"],
                    label_tracks(n, given["filtered_edges"], given["edge_scores"], 0.5),
                )
            client.close()
    assert server.trace.is_file()
    assert_all_gone(processes, server.grpc_url, region)


def test_serves_the_labeling_of_the_configuration(repository, settings, config, tmp_path):
    pipeline = config["pipeline"] | {"labeling": "walkthrough", "walk_cut": 0.25}
    with launch(repository, ["labeling"], tmp_path / "w", settings, pipeline) as server:
        client, step = labeling_step(server)
        given = tensors(4, [[0, 0, 2], [1, 2, 3]])
        given["edge_scores"] = np.array([0.5, 0.75, 0.125], np.float32)
        step(given, Stopwatch(), "walk")
        assert given["labels"].tolist() == [0, -1, 0, -1]
        client.close()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_each_client_has_a_connection_of_its_own(repository, settings, config, tmp_path, protocol):
    with launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server:
        port = int(server.url(protocol).split(":")[1])
        pairs = [labeling_step(server, protocol) for _ in range(4)]
        for i, (_, step) in enumerate(pairs):
            step(tensors(4, [[0], [1]]), Stopwatch(), str(i))
        open_ = [c for c in psutil.Process().net_connections() if c.raddr and c.raddr.port == port]
        assert len(open_) == 4
        for client, _ in pairs:
            client.close()
    # And the model noted each request, for the breakdown.
    journals = read_journals(server.journals)
    parts = ["convert", "compute_infer", "convert"]
    assert {i: [lap[:2] for lap in laps] for i, laps in journals.items()} == {
        f"{i}/labeling": [("labeling", part) for part in parts] for i in range(4)
    }


HANG = """
import atexit, pathlib, time
class TritonPythonModel(TritonPythonModel):
    def {method}(self, *args):
        super().{method}(*args)
        atexit.register(time.sleep, 1000)
        atexit.register(pathlib.Path({seen!r}).touch)
"""


# What is registered before `finalize` is not reached; what hangs all the same is killed.
@pytest.mark.parametrize(("method", "reached"), [("initialize", False), ("finalize", True)])
def test_a_model_that_hangs_at_its_end_does_not_cost_the_trace(
    repository, settings, config, tmp_path, method, reached
):
    model = repository / "labeling" / "1" / "model.py"
    seen = tmp_path / "seen"
    model.write_text(model.read_text() + HANG.format(method=method, seen=str(seen)))
    settings["stop_timeout_s"] = 10
    with launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server:
        processes = family(server.process.pid)
        region = region_of(processes)
        client, step = labeling_step(server)
        step(tensors(4, [[0], [1]]), Stopwatch(), "0")
        client.close()
    assert seen.exists() == reached
    assert server.process.returncode == 0
    assert json.loads(server.trace.read_text()) and read_journals(server.journals)
    assert_all_gone(processes, server.grpc_url, region)


def test_leaves_nothing_behind_after_an_exception(repository, settings, config, tmp_path):
    with (
        pytest.raises(KeyError),
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server,
    ):
        processes = family(server.process.pid)
        region = region_of(processes)
        raise KeyError
    assert_all_gone(processes, server.grpc_url, region)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_leaves_nothing_behind_when_the_owner_is_killed(repository, root, tmp_path, number):
    command = [sys.executable, Path(__file__).with_name("owner.py")]
    command += [root / "config" / "config.yaml", repository, tmp_path / "w"]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    owner = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        # Where the tests run in the background, Ctrl-C is ignored, and that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pid, url = owner.stdout.readline().split()
    processes = family(int(pid))
    region = region_of(processes)
    owner.send_signal(number)
    assert owner.wait(40) != 0
    owner.stdout.close()
    assert_all_gone(processes, url, region)
    # The job removes its folder itself, unless it is killed.
    assert (tmp_path / "w").exists() == (number != signal.SIGKILL)


def test_served_models_run_the_code_of_the_client(repository, root, tmp_path):
    shutil.copytree(root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    model = repository / "labeling" / "1" / "model.py"
    seen = tmp_path / "seen"
    note = f"open({str(seen)!r}, 'w').write(exatrkx_service.__file__)"
    model.write_text(f"{model.read_text()}\nimport exatrkx_service\n{note}\n")
    command = [sys.executable, Path(__file__).with_name("owner.py")]
    command += [root / "config" / "config.yaml", repository, tmp_path / "w"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    pid, url = owner.stdout.readline().split()
    processes = family(int(pid))
    region = region_of(processes)
    owner.terminate()
    owner.wait(40)
    owner.stdout.close()
    assert seen.read_text() == str(tmp_path / "src" / "exatrkx_service" / "__init__.py")
    assert_all_gone(processes, url, region)


def test_a_server_whose_owner_is_killed_while_it_loads_is_stopped(repository, root, tmp_path):
    command = [sys.executable, Path(__file__).with_name("owner.py")]
    command += [root / "config" / "config.yaml", repository, tmp_path / "w"]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    owner = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    log = tmp_path / "w" / "server.log"
    while not (log.exists() and "loading: labeling" in log.read_text()):
        assert owner.poll() is None
        time.sleep(0.01)
    processes = family(owner.pid)[1:]
    region = region_of(processes)
    owner.kill()
    owner.wait()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive and not list(SHARED_MEMORY.glob(f"{region}*"))


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


def test_a_taken_port_is_named(repository, settings, config, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings["ports"] = free_ports() | {"grpc": other.getsockname()[1]}
        with (
            pytest.raises(ServerError, match=r"server\.ports\.grpc: port \d+ .* is taken"),
            launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]),
        ):
            pass


@pytest.mark.parametrize("character", " (&;'$")
def test_a_work_folder_whose_path_a_shell_would_misread_is_refused(
    repository, settings, config, tmp_path, character
):
    work = tmp_path / f"my{character}work" / "w"
    with (
        pytest.raises(ServerError) as caught,
        launch(repository, ["labeling"], work, settings, config["pipeline"]),
    ):
        pass
    expected = f"{work}: the server can't work in a folder whose path has {character!r}; set TMPDIR"
    assert str(caught.value).startswith(expected)
    assert not (tmp_path / "w").exists()


def test_a_work_folder_where_nothing_can_be_executed_is_refused(
    repository, settings, config, tmp_path
):
    work = tmp_path / "noexec"
    work.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", work)
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with (
            pytest.raises(ServerError, match="mounted noexec; set TMPDIR to a folder of another"),
            launch(repository, ["labeling"], work / "w", settings, config["pipeline"]),
        ):
            pass
    finally:
        subprocess.run(["umount", work], check=True)


def test_too_little_shared_memory_is_told_before_the_start(repository, settings, config, tmp_path):
    largest = tensor_bytes(10**9, 10**12, 10**12)
    with (
        pytest.raises(ServerError, match=r"/dev/shm has \d+ MiB free, the models labeling need ab"),
        launch(
            repository,
            ["labeling"],
            tmp_path / "w",
            settings,
            config["pipeline"],
            largest=largest,
        ),
    ):
        pass


def test_a_corrupt_model_shows_in_the_error(repository, settings, config, tmp_path):
    version = repository / "gnn" / "1"
    version.mkdir(exist_ok=True)  # a new checkout has none: all of it is exported
    (version / "model.pt").write_bytes(b"corrupt")
    log = tmp_path / "logs" / "server.log"
    log.parent.mkdir()
    # Another model takes its time: the server would end by itself only after it.
    slow = repository / "labeling" / "1" / "model.py"
    slow.write_text("import time\ntime.sleep(100)\n" + slow.read_text())
    start = time.monotonic()
    with (
        pytest.raises(ServerError, match=r"(?s)the server at start: .*gnn.*TorchScript") as caught,
        launch(
            repository, ["gnn", "labeling"], tmp_path / "w", settings, config["pipeline"], log=log
        ),
    ):
        pass
    assert time.monotonic() - start < 90, "the other models were waited for"
    assert f"(log: {log})" in str(caught.value) and log.is_file()


def test_another_network_than_that_of_the_configuration_is_not_served(
    repository, settings, config, tmp_path
):
    export("filtering", Path(weights_file(WEIGHTS, "filtering")), tmp_path / "f.pt", filter_cut=0.5)
    (repository / "filtering" / "1").mkdir(exist_ok=True)
    shutil.copy(tmp_path / "f.pt", repository / "filtering" / "1" / "model.pt")
    with (
        pytest.raises(ServerError, match=r"model.pt: filter_cut 0.5, expected 0.008, that of the"),
        launch(repository, ["filtering"], tmp_path / "w", settings, config["pipeline"]),
    ):
        pass


def test_a_server_that_is_not_ready_in_time_is_an_error(
    repository, settings, config, tmp_path, monkeypatch
):
    token = f"late{os.getpid()}"
    monkeypatch.setattr(launcher.secrets, "token_hex", lambda n: token)
    settings["start_timeout_s"] = 0.01
    with (
        pytest.raises(ServerError, match=r"not ready within server.start_timeout_s = 0.01 s"),
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]),
    ):
        pass
    assert not list(SHARED_MEMORY.glob(f"exatrkx_{token}*"))


def test_an_absent_executable_is_named(monkeypatch, tmp_path):
    (tmp_path / "pytriton").mkdir()
    (tmp_path / "pytriton" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "pytriton", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ServerError, match="bin/tritonserver: no such executable"):
        embedded.triton_folder()


def test_the_libraries_of_this_machine_are_found_last(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/this/machine")
    found = embedded.environment({})["LD_LIBRARY_PATH"]
    assert found == f"{embedded.library_path()}:/of/this/machine"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    found = embedded.environment({})["LD_LIBRARY_PATH"]
    assert found == embedded.library_path().rstrip(":")
