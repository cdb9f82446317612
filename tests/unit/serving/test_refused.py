"""What is refused before a server starts, or as soon as it says why it does not."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from real_server import MARKS

from exatrkx_service.models.export import WEIGHTS, export
from exatrkx_service.paths import weights_file
from exatrkx_service.serving import embedded
from exatrkx_service.serving import launch as launcher
from exatrkx_service.serving.guard import SHARED_MEMORY
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.memory import tensor_bytes
from exatrkx_service.serving.server import ServerError, free_ports

pytestmark = MARKS


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
