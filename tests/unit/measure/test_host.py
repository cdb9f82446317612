"""What else happens on the machine, read from the real kernel."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exatrkx_service.measure import host

BURN = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


@contextlib.contextmanager
def burning():
    """A process that keeps one CPU busy."""
    process = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def spent(watch, seconds=1.5):
    before = watch.read()
    time.sleep(seconds)
    return host.between(before, watch.read())


def test_the_work_of_our_processes_is_ours_and_that_of_others_is_not():
    with burning() as process:
        theirs = spent(host.Watch())
        ours = spent(host.Watch(roots=(process.pid,)))
    assert theirs["ours"] < 0.2 < ours["ours"]
    assert theirs["others"] > 0.2
    assert ours["window_s"] == pytest.approx(1.5, abs=0.5)


def test_a_process_that_ends_does_not_take_its_time_with_it():
    watch = host.Watch()
    with burning() as process:
        watch.roots = (process.pid,)
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
    assert happened["throttled"] > 0.1 and happened["ours"] < 0.7


def test_a_missing_kernel_file_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(host, "_CGROUP_FILES", tmp_path)
    assert host.limits()["cpu_quota"] is None and host.quota_periods() == (0, 0)
