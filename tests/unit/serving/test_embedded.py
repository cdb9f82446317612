"""The life cycle of the embedded server, with the real one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from real_server import (
    MARKS,
    assert_all_gone,
    backend_folders,
    family,
    labeling_step,
    region_of,
    tensors,
)

from exatrkx_service.pipeline.labeling import label_tracks
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.serving.guard import SHARED_MEMORY
from exatrkx_service.serving.journal import read_journals
from exatrkx_service.serving.launch import launch

pytestmark = MARKS


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


def test_a_server_that_is_killed_takes_nothing_from_another(repository, settings, config, tmp_path):
    before = backend_folders()
    killed, other = (
        launch(repository, ["labeling"], tmp_path / name, settings, config["pipeline"])
        for name in ("killed", "other")
    )
    # The other comes later: its folder is new to the guard of the one that is killed.
    with killed as server, other as another:
        assert len(backend_folders() - before) >= 2
        family(server.process.pid)[1].kill()
        server.process.wait()
    # Without its folder the Python backend aborts at its end.
    assert another.process.returncode == 0


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
