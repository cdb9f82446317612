"""A real Slurm on this machine: munged, slurmctld, slurmd, and slurmdbd with MariaDB.

Use, as root:

    python tests/slurm/cluster.py up                      # one node, no accounting
    python tests/slurm/cluster.py up --nodes 2 --accounting --delay-ms 1
    python tests/slurm/cluster.py down

Each node has a network namespace, an address and a host name of its own. All daemons have keys,
sockets, ports and files of their own, below /run/exatrkx-slurm; /etc/slurm/slurm.conf is a link to
there, and where that file is somebody else's, nothing is started. ``down`` ends all of it.
Needs the Debian packages named in ``PACKAGES``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import network

PACKAGES = (
    *("slurm-wlm", "munge", "slurmdbd", "mariadb-server", "slurm-wlm-mysql-plugin"),
    "iproute2",
)
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "ip", "nsenter", "unshare")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb", "sacctmgr")
STATE = network.STATE
CONFIG = Path("/etc/slurm/slurm.conf")  # the plugin's jobs look nowhere else
REAL = (CONFIG, Path("/run/slurm/conf/slurm.conf"))  # the second: a node without files of its own
PORTS = {"slurmctld": 47817, "slurmd": 47818, "slurmdbd": 47819, "mariadb": 47306}
ACCOUNT, QOS = "physics", "regular"
PARTITIONS = ("main", "other")
GPUS = {"a100": "/dev/null", "v100": "/dev/zero"}  # can be asked for; there is none behind them
TIMEOUT_S = 60


class ClusterError(RuntimeError):
    """The test cluster can't be brought up here, or a daemon did not start."""


def problem(*, accounting: bool = True) -> str | None:
    """What keeps the test cluster from running on this machine; None if nothing does."""
    if os.geteuid() != 0:
        return "the Slurm test cluster needs root"
    wanted = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing:
        return f"no program {missing[0]}; install {' '.join(PACKAGES)}"
    for path in REAL:
        if os.path.lexists(path) and not is_ours(path):
            return f"{path} belongs to another Slurm; the test cluster would disturb it"
    if "SLURM_CONF" in os.environ:
        return "SLURM_CONF is set, so another Slurm is used here; unset it"
    return None


def is_ours(path: Path) -> bool:
    """Whether a slurm.conf is that of the test cluster."""
    return path.is_symlink() and path.readlink() == STATE / "slurm.conf"


def run(*command: str | Path, **options: object) -> str:
    """Runs a command to its end; gives what it printed."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what: str, ready: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Waits until ``ready`` says so; a command in it that fails is not ready."""
    deadline, why = time.monotonic() + timeout_s, ""
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except (ClusterError, OSError) as error:
            why = f" ({error})"
        time.sleep(0.2)
    raise ClusterError(f"{what} was not ready within {timeout_s:g} s{why}; logs: {STATE}/log")


def is_open(port: int) -> bool:
    """Whether something listens on a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Cluster:
    """The test cluster.

    Args:
        nodes: how many.
        accounting: with slurmdbd and MariaDB, or without.
        delay_ms: delay of the link between two nodes, each way [ms]; 0: no such link.
        cpus, memory_mb: of a node, as Slurm sees it; may be more than there is.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        accounting: bool = False,
        delay_ms: float = 0,
        cpus: int = os.cpu_count() or 1,
        memory_mb: int = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
    ) -> None:
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.accounting = accounting
        self.delay_ms = delay_ms
        self.cpus = cpus
        self.memory_mb = memory_mb
        self.environment = {**os.environ, "SLURM_CONF": str(STATE / "slurm.conf")}

    def up(self) -> Cluster:
        """Starts everything; returns when the nodes take jobs.

        Raises:
            ClusterError: it can't run here, or a daemon did not start; nothing is left then.
        """
        if reason := problem(accounting=self.accounting):
            raise ClusterError(reason)
        if self.delay_ms and len(self.nodes) != 2:
            raise ClusterError("the link with a delay is between two nodes: --nodes 2")
        down()
        try:
            self._start()
        except BaseException:
            down(keep_logs=True)
            raise
        return self

    def _start(self) -> None:
        for name in ("log", "state", "munge", *(f"spool/{node}" for node in self.nodes)):
            (STATE / name).mkdir(parents=True)
        host = socket.gethostname().split(".")[0]
        network.create(self.nodes, host, delayed=bool(self.delay_ms))
        self._write_config(host)
        CONFIG.parent.mkdir(parents=True, exist_ok=True)
        CONFIG.symlink_to(STATE / "slurm.conf")
        self._start_munge()
        if self.accounting:
            self._start_accounting()
        self.start("slurmctld")
        for node in self.nodes:
            self.start(node)
        if self.delay_ms:
            relay = Path(__file__).with_name("relay.py")
            self._spawn("relay", [sys.executable, relay, str(self.delay_ms), *self.nodes])
        wait_for("slurmctld", lambda: set(self.states().values()) == {"idle"})

    def states(self) -> dict[str, str]:
        """State of each node, as sinfo says it."""
        lines = run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %t")
        return dict(line.split() for line in lines.splitlines())

    def start(self, daemon: str) -> None:
        """Starts slurmctld, or the slurmd of a node."""
        if daemon == "slurmctld":
            self._spawn(daemon, ["slurmctld", "-D"])
            wait_for(daemon, lambda: is_open(PORTS["slurmctld"]))
        else:
            self._spawn(daemon, network.inside(daemon, "slurmd", "-D", "-N", daemon))

    def stop(self, daemon: str, number: int = signal.SIGTERM) -> None:
        """Stops one daemon and waits for its end."""
        pids = _pids()
        _end(pids.pop(daemon), number)
        _pid_file().write_text(json.dumps(pids))

    def _spawn(self, name: str, command: list[str | Path]) -> None:
        with (STATE / "log" / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _pid_file().write_text(json.dumps(_pids() | {name: process.pid}))

    def _start_munge(self) -> None:
        key = STATE / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={STATE / 'munge' / name}" for option, name in files.items()]
        self._spawn("munged", ["munged", "--foreground", "--force", "--num-threads=2", *options])
        wait_for("munged", (STATE / "munge" / "socket").exists)

    def _start_accounting(self) -> None:
        data, password = STATE / "mariadb", secrets.token_hex(16)
        run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}")
        self._spawn(
            "mariadb",
            [
                *("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}"),
                *("--bind-address=127.0.0.1", f"--port={PORTS['mariadb']}"),
                *(f"--socket={data / 'socket'}", "--innodb-log-file-size=10M"),
                *("--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"),
            ],
        )
        statements = (
            "CREATE DATABASE slurm_acct_db;"
            f"CREATE USER slurm@'127.0.0.1' IDENTIFIED BY '{password}';"
            "GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';"
        )
        wait_for("mariadb", lambda: is_open(PORTS["mariadb"]))
        run("mariadb", "--no-defaults", f"--socket={data / 'socket'}", input=statements)
        config = STATE / "slurmdbd.conf"
        config.touch(mode=0o600)
        config.write_text(
            "AuthType=auth/munge\n"
            f"AuthInfo=socket={STATE}/munge/socket\n"
            f"DbdHost=localhost\nDbdPort={PORTS['slurmdbd']}\nSlurmUser=root\n"
            f"PidFile={STATE}/slurmdbd.pid\nLogFile={STATE}/log/slurmdbd.log\n"
            f"StorageType=accounting_storage/mysql\nStorageHost=127.0.0.1\n"
            f"StoragePort={PORTS['mariadb']}\nStorageUser=slurm\nStoragePass={password}\n"
            "StorageLoc=slurm_acct_db\n"
        )
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        wait_for("slurmdbd", lambda: is_open(PORTS["slurmdbd"]))
        manage = ("sacctmgr", "--immediate")
        wait_for("slurmdbd", lambda: bool(run(*manage, "add", "cluster", "exatrkx")))
        run(*manage, "add", "qos", QOS)
        run(*manage, "add", "account", ACCOUNT)
        run(*manage, "add", "user", "root", f"account={ACCOUNT}", f"qos=normal,{QOS}")

    def _write_config(self, host: str) -> None:
        lines = [
            "# The test cluster of the benchmark; made by tests/slurm/cluster.py",
            "ClusterName=exatrkx",
            f"SlurmctldHost={host}({network.CONTROLLER})",
            "SlurmUser=root",
            f"SlurmctldPort={PORTS['slurmctld']}",
            f"SlurmdPort={PORTS['slurmd']}",
            "AuthType=auth/munge",
            f"AuthInfo=socket={STATE}/munge/socket",
            f"StateSaveLocation={STATE}/state",
            f"SlurmdSpoolDir={STATE}/spool/%n",
            f"SlurmctldPidFile={STATE}/slurmctld.pid",
            f"SlurmdPidFile={STATE}/slurmd-%n.pid",
            f"SlurmctldLogFile={STATE}/log/slurmctld.log",
            f"SlurmdLogFile={STATE}/log/slurmd-%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "MpiDefault=none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU_Memory",
            "ReturnToService=2",
            "SlurmdParameters=config_overrides",  # more CPUs than the machine has
            # Each change is looked at as soon as it comes, and all else every other second.
            "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,"
            "bf_interval=1",
            "KillWait=30",
            "MinJobAge=300",  # Slurm's own default, which a centre has as well
            "MessageTimeout=30",
            "GresTypes=gpu",
        ]
        if self.accounting:
            lines += [
                "AccountingStorageType=accounting_storage/slurmdbd",
                "AccountingStoreFlags=job_comment",  # the plugin writes rule and wildcards there
                "AccountingStorageTRES=gres/gpu," + ",".join(f"gres/gpu:{m}" for m in GPUS),
                f"AccountingStorageHost={network.CONTROLLER}",
                f"AccountingStoragePort={PORTS['slurmdbd']}",
                f"AccountingStoragePass={STATE}/munge/socket",  # munge's socket for slurmdbd
                "AccountingStorageEnforce=associations,limits,qos",
            ]
        lines += [
            f"NodeName={node} NodeHostname={node} NodeAddr={network.address(node)} "
            f"CPUs={self.cpus} RealMemory={self.memory_mb} Feature=gpu,cpu "
            f"Gres={','.join(f'gpu:{model}:1' for model in GPUS)}"
            for node in self.nodes
        ]
        for partition in PARTITIONS:
            default = "YES" if partition == PARTITIONS[0] else "NO"
            lines.append(
                f"PartitionName={partition} Nodes={','.join(self.nodes)} Default={default} "
                "MaxTime=24:00:00 DefaultTime=60 State=UP"
            )
        gpus = [f"Name=gpu Type={model} File={file}" for model, file in GPUS.items()]
        (STATE / "gres.conf").write_text("\n".join(gpus) + "\n")
        (STATE / "slurm.conf").write_text("\n".join(lines) + "\n")


def _pid_file() -> Path:
    return STATE / "pids.json"


def _pids() -> dict[str, int]:
    return json.loads(_pid_file().read_text()) if _pid_file().exists() else {}


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end(pid: int, number: int = signal.SIGTERM, timeout_s: float = 20) -> None:
    """Ends a process: with a signal, or after a while with SIGKILL."""
    deadline = time.monotonic() + timeout_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        while _runs(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def down(*, keep_logs: bool = False) -> None:
    """Takes the test cluster down, as far as it is there: jobs, daemons, network, files."""
    pids = _pids()
    if "slurmctld" in pids:
        with contextlib.suppress(ClusterError, subprocess.TimeoutExpired):
            run("scancel", "--user=root", timeout=10)
            wait_for("the end of the jobs", lambda: not run("squeue", "--noheader").strip(), 10)
    # In the opposite order of their start; a node's daemon is in its namespace, see below.
    for name, pid in reversed(pids.items()):
        started_here = str(STATE) in _environment(pid)
        if started_here:
            _end(pid, signal.SIGKILL if name == "relay" else signal.SIGTERM)
    for name in network.namespaces():
        for pid in network.pids(name):  # jobs that outlived their daemon
            _end(pid, signal.SIGKILL)
    network.remove()
    if is_ours(CONFIG):
        CONFIG.unlink()
    if STATE.exists() and keep_logs:
        _pid_file().unlink(missing_ok=True)
    else:
        shutil.rmtree(STATE, ignore_errors=True)


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the cluster")
    up.add_argument("--nodes", type=int, default=1)
    up.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB")
    up.add_argument("--delay-ms", type=float, default=0, help="of the link between two nodes")
    commands.add_parser("down", help="stop it; leaves nothing")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: the Slurm test cluster needs root")
    if arguments.command == "down":
        down()
        return
    try:
        Cluster(arguments.nodes, accounting=arguments.accounting, delay_ms=arguments.delay_ms).up()
    except ClusterError as error:
        sys.exit(f"error: {error}")
    print(run("sinfo"), end="")


if __name__ == "__main__":
    main()
