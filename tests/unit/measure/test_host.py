"""What else happens on the machine, read from the real kernel."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from exatrkx_service.measure import host

BURN = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


@contextlib.contextmanager
def burning(ours=True):
    """A process that keeps one CPU busy: a child of this one, or not."""
    command = [sys.executable, "-c", BURN]
    if not ours:
        # Its parent starts it and ends, so that it is nobody's child.
        code = f"import subprocess; print(subprocess.Popen({command!r}, stdout=-3).pid)"
        command = [sys.executable, "-c", code]
        started = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        process = psutil.Process(int(started.stdout))
    else:
        process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        with contextlib.suppress(psutil.NoSuchProcess):
            process.wait()


def spent(seconds=1.5):
    watch = host.Watch()
    before = watch.read()
    time.sleep(seconds)
    return host.between(before, watch.read())


def test_the_work_of_our_processes_is_ours_and_that_of_others_is_not():
    with burning(ours=False):
        theirs = spent()
    with burning():
        ours = spent()
    assert theirs["ours"] < 0.1 < ours["ours"]
    assert theirs["others"] > 0.1
    assert ours["window_s"] == pytest.approx(1.5, abs=0.5)


def test_a_process_that_ends_does_not_take_its_time_with_it():
    watch = host.Watch()
    with burning():
        before = watch.read()
        time.sleep(1)
        middle = watch.read()
    after = watch.read()
    assert after.ours_s >= middle.ours_s > before.ours_s


def test_the_limits_are_those_of_this_process():
    limits = host.limits()
    assert limits["affinity"] == sorted(os.sched_getaffinity(0))
    assert limits["cpus_online"] == os.cpu_count()


CPU_GROUPS = Path("/sys/fs/cgroup/cpu")  # version 1


@pytest.fixture
def half_a_cpu():
    """A control group of half a CPU, if one can be made here; version 1 or 2."""
    version_1 = (CPU_GROUPS / "cpu.cfs_quota_us").exists() or CPU_GROUPS.is_dir()
    group = (CPU_GROUPS if version_1 else Path("/sys/fs/cgroup")) / f"exatrkx-test-{os.getpid()}"
    try:
        group.mkdir()
        if version_1:
            (group / "cpu.cfs_quota_us").write_text("50000")
        else:
            (group / "cpu.max").write_text("50000 100000")
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)


def test_a_quota_and_what_it_takes_are_seen(half_a_cpu):
    code = (
        "import json, time; from exatrkx_service.measure import host\n"
        "watch = host.Watch(); before = watch.read(); end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end: pass\n"
        "print(json.dumps([host.limits(), host.between(before, watch.read())]))"
    )
    # In the group before Python starts.
    command = f"echo $$ > {half_a_cpu}/cgroup.procs && exec {sys.executable} -c '{code}'"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    import json

    limits, happened = json.loads(done.stdout)
    assert limits["cpu_quota"] == 0.5
    assert happened["throttled"] > 0 and happened["ours"] < 0.7


def test_a_missing_kernel_file_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "_CGROUP_FILES", tmp_path)
    assert host.limits()["cpu_quota"] is None and host.quota_periods() == (0, 0)


def test_what_disturbs_is_said_in_words():
    calm = {"others": 0.1, "steal": 0.0, "throttled": 0.0}
    assert host.disturbances(calm) == ""
    text = host.disturbances({"others": 0.8, "steal": 0.0, "throttled": 0.5})
    assert text == (
        "other processes kept 0.80 CPUs busy; "
        "a CPU quota stopped the processes in 50% of its periods"
    )


def test_the_cpu_time_of_a_process_is_read_from_outside():
    with burning() as process:
        before = host.cpu_ns([process.pid])
        time.sleep(1)
        after = host.cpu_ns([process.pid])
    assert 0.2e9 < after - before < 1.5e9
    assert host.cpu_ns([process.pid]) == 0  # it has ended


def test_a_thread_that_is_bound_has_a_row_of_its_own():
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("this process has one CPU alone")
    bound, go_on = threading.Event(), threading.Event()

    def bind():
        os.sched_setaffinity(0, {cpus[0]})
        bound.set()
        go_on.wait(20)

    thread = threading.Thread(target=bind)
    thread.start()
    bound.wait(20)
    found = host.affinities([os.getpid()])
    go_on.set()
    thread.join()
    (whole,) = (own for name, own in found.items() if name.endswith(f"/{os.getpid()}"))
    assert whole == cpus
    (name,) = (name for name, own in found.items() if own == [cpus[0]])
    assert f"/{os.getpid()}/" in name
    assert len(host.affinities([os.getpid()])) == 1
