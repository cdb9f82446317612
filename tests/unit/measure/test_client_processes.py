"""Clients that are processes: they end with their owner, and it hears of their end."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from exatrkx_service.client import placement
from exatrkx_service.measure.clients import ClientError, Task, client_processes, make_ready
from exatrkx_service.measure.load import CONTROL, OPTION
from exatrkx_service.options import STAGES, Option

# Clients that send nothing: of no option, and without a control.
IDLE = Task(None, ".", {"threads": 1}, control=False)
OWNER = """
import os, sys, time
print("begin", flush=True)
from exatrkx_service.measure.clients import Task, client_processes
task = Task(None, ".", {"threads": 1}, control=False)
with client_processes(task, 2, {}) as crew:
    crew.ready(lambda: None)
    print(*crew.pids(2), flush=True)
    time.sleep(600)
"""


def family(pid):
    return psutil.Process(pid).children(recursive=True)


def gone(processes, timeout_s=20):
    return not psutil.wait_procs(processes, timeout_s)[1]


@pytest.fixture
def owner(tmp_path):
    """A script, as Snakemake runs one, that has two clients; and what it printed."""
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = [process.stdout.readline() for _ in range(2)]
    yield process, lines
    process.kill()
    process.wait()


def test_they_do_not_run_the_owners_script(owner):
    _, lines = owner
    assert lines[0] == "begin\n" and len(lines[1].split()) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_their_owner(owner, number):
    process, lines = owner
    processes = family(process.pid)
    assert set(map(int, lines[1].split())) <= {process.pid for process in processes}
    process.send_signal(number)
    process.wait(20)
    assert gone(processes)


@pytest.mark.parametrize("already_gone", [False, True])
def test_one_that_is_killed_is_named_with_its_signal(already_gone):
    with client_processes(IDLE, 2, {}) as crew:
        crew.ready(lambda: None)
        processes = list(map(psutil.Process, crew.pids(2)))
        processes[1].kill()
        assert not already_gone or gone(processes[1:])
        with pytest.raises(ClientError, match=rf"client 1 \(process {processes[1].pid}\) .* -9"):
            crew.turn(2, [], "t", lambda: None)
    assert gone(processes)


def test_ctrl_c_is_left_to_the_owner():
    with client_processes(IDLE, 1, {}) as crew:
        crew.ready(lambda: None)
        (pid,) = crew.pids(1)
        os.kill(pid, signal.SIGINT)
        assert [share.samples for share in crew.turn(1, [], "t", lambda: None)] == [[]]


@pytest.mark.parametrize("served", [(), ("building",), STAGES])
def test_the_option_and_its_control_use_the_same_loaded_stages(monkeypatch, tmp_path, served):
    made = []

    def make_stage(stage, *where):
        made.append(stage)
        return object()

    monkeypatch.setattr(placement, "make_stage", make_stage)
    by_arm, _ = make_ready(Task(Option("X", "stages", served), tmp_path, {}))()
    assert sorted(made) == sorted(STAGES) and len(by_arm) == 2
    option, control = (by_arm[arm].steps for arm in (OPTION, CONTROL))
    for one, other in zip(option, control, strict=True):
        assert other.function and (other.stage in served or one.function is other.function)
