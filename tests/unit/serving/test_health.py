"""Processes that are killed or stopped, and what a server's log says of its start."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exatrkx_service.serving.health import Health, ServerError, load_failure


@pytest.fixture
def process():
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started
    started.kill()
    started.wait()


def wait_for(process, states):
    stat = Path(f"/proc/{process.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] not in states:
        assert process.returncode is None


def test_processes_that_run_are_fine(process):
    Health({process.pid: "gnn"}).check()
    Health().check()


@pytest.mark.parametrize(
    ("number", "states", "text"),
    [
        (signal.SIGKILL, "Z", "was ended by SIGKILL"),
        (signal.SIGSEGV, "Z", "was ended by SIGSEGV"),
        (signal.SIGSTOP, "T", r"was stopped \(SIGSTOP\?\)"),
    ],
)
def test_one_that_does_not_run_is_named(process, number, states, text):
    process.send_signal(number)
    wait_for(process, states)
    expected = rf"the process of the model gnn \(process {process.pid}\) {text}"
    with pytest.raises(ServerError, match=expected):
        Health({process.pid: "gnn"}).check()


def test_one_that_is_gone_is_named(process):
    process.kill()
    process.wait()
    with pytest.raises(ServerError, match=rf"the server \(process {process.pid}\) has ended"):
        Health({process.pid: "tritonserver"}).check()


LOG = """I1127 19:36:43.770118 25244 server.cc:1] "Started"
E1127 19:50:30.548991 16064 model_lifecycle.cc:642] "failed to load 'gnn' version 1: X\\nat Y"
I1127 19:39:44.414631 29934 pb_stub.cc:366] "Failed to initialize Python stub: ModelFileError: Z"
"""


def test_a_failure_to_load_is_found_in_the_log(tmp_path):
    log = tmp_path / "server.log"
    log.write_text(LOG)
    assert load_failure(log) == "failed to load 'gnn' version 1: X\n  at Y"
    log.write_text("".join(line for line in LOG.splitlines(keepends=True) if "gnn" not in line))
    assert load_failure(log) == "Failed to initialize Python stub: ModelFileError: Z"
    log.write_text(LOG.splitlines()[0] + "\nprint(\"failed to load 'x'\")\n")
    assert load_failure(log) is None
