"""The test cluster itself: it disturbs no other Slurm, and leaves nothing."""

import subprocess
import sys
from pathlib import Path

import cluster as module
import psutil
import pytest
from cluster import CONFIG, STATE, Cluster, ClusterError, down, problem
from network import namespaces
from runs import ask

DAEMONS = {"munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "slurmstepd"}


def ours() -> list[psutil.Process]:
    """The daemons of the test cluster that run."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] in DAEMONS and process.status() != psutil.STATUS_ZOMBIE:
                variables = process.environ()
                found += [process] * (variables.get("SLURM_CONF") == f"{STATE}/slurm.conf")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_two_nodes_have_names_and_a_link_with_a_delay(cluster):
    assert ask("srun", "--nodes=2", "hostname").split() in (["n1", "n2"], ["n2", "n1"])
    talk = (
        "import socket, time\n"
        "with socket.create_connection(('n2', 47818)) as link: pass\n"  # resolves the name
        "begin = time.monotonic()\n"
        "socket.create_connection(('n2', 47818)).close()\n"
        "print(time.monotonic() - begin)\n"
    )
    took = float(ask("srun", "--nodelist=n1", sys.executable, "-c", talk))
    assert took >= 2 * cluster.delay_ms / 1000  # a handshake goes there and back


def test_the_accounting_refuses_a_wrong_account(cluster):
    done = subprocess.run(["srun", "--account=wrong", "true"], capture_output=True, text=True)
    assert done.returncode != 0 and "Invalid account" in done.stderr


def test_down_leaves_nothing(plain_cluster):
    job = subprocess.Popen(["srun", "sleep", "300"], stderr=subprocess.DEVNULL)
    while not ask("squeue", "--noheader", "--states=RUNNING"):
        assert job.poll() is None
    processes = ours()
    assert {process.name() for process in processes} >= {"munged", "slurmctld", "slurmd"}
    down()
    assert job.wait(30) != 0
    assert not ours() and not namespaces() and not STATE.exists()
    assert not CONFIG.is_symlink()


def test_another_slurm_is_left_alone(monkeypatch, tmp_path):
    if reason := problem():
        pytest.skip(reason)
    config = tmp_path / "slurm.conf"
    config.write_text("ClusterName=theirs\n")
    monkeypatch.setattr(module, "REAL", (config,))
    with pytest.raises(ClusterError, match=r"slurm.conf belongs to another Slurm"):
        Cluster().up()
    assert config.read_text() == "ClusterName=theirs\n"


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    assert problem().startswith("no program munged; install slurm-wlm munge slurmdbd")
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    assert problem() == "the Slurm test cluster needs root"
