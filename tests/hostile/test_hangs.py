"""What is killed, stopped or lost: everything ends, soon, with the reason."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from background import SMOKE, assert_nothing_left

from exatrkx_service.measure.lock import LOCKS

# Each model is a process then.
PYTHON = "server={backend: python}"
LONG = ("--config", "measure={max_seconds: 1000, precision: 1e-6}")
AGAIN = ("--forcerun", "measure", *SMOKE, *LONG)


def models_of(checkout):
    return [p for p in checkout.servers() if p.name().startswith("triton_python_b")]


def start(background, checkout, option="S1", *settings):
    run = background(checkout, option, *AGAIN, *settings)
    log = checkout.folder / "results/smoke/logs/measure" / f"{option}_round1.log"
    run.wait_for_server()
    deadline = time.monotonic() + 120
    # Measuring has begun when a server listens to its clients.
    server = checkout.folder / f"results/smoke/logs/measure/{option}_round1.server.log"
    while "Started Metrics Service" not in (server.read_text() if server.exists() else ""):
        assert run.process.poll() is None and time.monotonic() < deadline, run.output
        time.sleep(0.1)
    time.sleep(3)
    return run, log


@pytest.mark.parametrize(
    ("number", "text"), [(signal.SIGKILL, "was ended by SIGKILL"), (signal.SIGSTOP, "was stopped")]
)
def test_a_models_process_that_is_killed_or_stopped(checkout, background, number, text):
    run, _ = start(background, checkout, "S1", PYTHON)
    model = models_of(checkout)[0]
    model.send_signal(number)
    assert run.end(30) != 0
    assert (
        f"(process {model.pid}) {text}" in run.output and "the process of the model" in run.output
    )
    assert "S1_round1.server.log" in run.output
    assert_nothing_left(checkout)


def test_the_server_stopped(checkout, background):
    run, _ = start(background, checkout, "S5")
    next(p for p in checkout.servers() if p.name() == "tritonserver").send_signal(signal.SIGSTOP)
    assert run.end(30) != 0
    assert "the server (process " in run.output and "was stopped" in run.output
    assert_nothing_left(checkout)


def test_snakemake_killed(checkout, background):
    run, _ = start(background, checkout)
    run.process.kill()
    run.end()
    assert_nothing_left(checkout)
    # Its lock on the folder is Snakemake's own; what the documents say takes it away.
    assert "unlock" in checkout.run("S1", *SMOKE, fails=True)
    checkout.run("--unlock", *SMOKE)
    checkout.run("S1", *SMOKE)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_terminal_that_is_closed(checkout, background, number):
    run, _ = start(background, checkout)
    run.signal_all(number)
    assert run.end(60) != 0
    assert_nothing_left(checkout)
    checkout.run("S1", *SMOKE)  # without --unlock


def test_who_waits_says_for_whom(checkout, background):
    path = LOCKS / f"exatrkx-service-{os.getuid()}.lock"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        me = {"pid": os.getpid(), "job": "this test", "folder": "here", "since": "now"}
        json.dump(me, file)
        file.flush()
        run = background(checkout, "S0", "--forcerun", "measure", *SMOKE)
        run.wait_for("waiting for another measurement on this machine: this test in here, process")
        fcntl.flock(file, fcntl.LOCK_UN)
    assert run.end() == 0


def test_a_model_that_cannot_be_loaded(copy_of_smoke):
    checkout = copy_of_smoke()
    model = checkout.folder / "model_repo" / "labeling" / "1" / "model.py"
    model.write_text("import no_such_package\n" + model.read_text())
    output = checkout.run("S3", *SMOKE, "--config", PYTHON, fails=True)
    assert "the server at start: " in output and "No module named 'no_such_package'" in output
    log = "results/smoke/logs/measure/S3_round1.server.log"
    assert f"(log: {log})" in output and (checkout.folder / log).is_file()
    assert_nothing_left(checkout)


@pytest.mark.parametrize("character", "(&")
def test_a_temporary_folder_that_a_shell_would_misread(checkout, tmp_path, character):
    folder = tmp_path / f"a{character}b"
    folder.mkdir()
    arguments = ("S2", "--forcerun", "measure", *SMOKE)
    output = checkout.run(*arguments, fails=True, TMPDIR=str(folder))
    assert f"whose path has {character!r}; set TMPDIR to one without" in output
    assert not list(folder.iterdir())


def test_too_little_shared_memory(checkout):
    """As in a container: a file system of its own at /dev/shm, for this run alone."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    settings = ("--forcerun", "measure", *SMOKE, "--config", PYTHON)
    command = shlex.join(checkout.command("S3", *settings))
    mount = "mount -t tmpfs -o size=2m tmpfs /dev/shm"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{mount} && exec {command}"],
        cwd=checkout.folder,
        env=checkout.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    if "mount" in output.splitlines()[0]:
        pytest.skip(output.splitlines()[0])
    assert done.returncode != 0
    assert "/dev/shm has 2 MiB free, the models " in output and "--shm-size" in output
    assert_nothing_left(checkout)


def test_serving_for_others(checkout, background):
    import tritonclient.grpc

    run = background(checkout, "serve", *SMOKE)
    run.wait_for("To stop it: Ctrl-C, or kill ")
    words = run.output.split()
    url, pid = words[words.index("gRPC:") + 1], int(words[words.index("kill") + 1])
    with tritonclient.grpc.InferenceServerClient(url) as client:
        assert client.is_model_ready("exatrkx") and client.is_model_ready("pipeline")
    assert psutil.Process(pid).is_running()
    os.kill(pid, signal.SIGTERM)
    assert run.end() == 0
    assert "The server has stopped" in run.output
    assert_nothing_left(checkout)


def test_half_a_cpu(checkout):
    """A control group's quota, as a container has it: its times are not the machine's."""
    groups = Path("/sys/fs/cgroup/cpu")
    if not groups.is_dir():
        groups = Path("/sys/fs/cgroup")
    group = groups / f"exatrkx-hostile-{os.getpid()}"
    try:
        group.mkdir()
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_quota_us").write_text("50000")
        else:
            (group / "cpu.max").write_text("50000 100000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        arguments = ("S0", "--forcerun", "measure", *SMOKE, "--config", "results=results/half")
        command = " ".join(f"'{word}'" for word in checkout.command("aggregate", *arguments[1:]))
        values = "'options={S1: null, S2: null, S3: null, S4: null, S5: null}'"
        subprocess.run(
            ["sh", "-c", f"echo $$ > {group}/cgroup.procs && exec {command} {values}"],
            cwd=checkout.folder,
            env=checkout.environment,
            capture_output=True,
            check=True,
        )
    finally:
        deadline = time.monotonic() + 20
        while group.exists() and time.monotonic() < deadline:
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.1)
    import pandas as pd

    summary = pd.read_csv(checkout.folder / "results/half/summary.csv")
    assert set(summary.verdict) == {"unstable"}
    # On a busy machine others take what the quota would have left.
    assert summary.reason.str.contains("a CPU quota stopped|other processes kept").all()
    provenance = json.loads((checkout.folder / "results/half/provenance.json").read_text())
    cores = len(os.sched_getaffinity(0))
    assert f"a control group grants 0.5 of the {cores} CPUs" in provenance["warnings"]
    assert provenance["common"]["job"]["limits"]["cpu_quota"] == 0.5
