"""Network namespaces for the nodes of the test cluster: a bridge, and addresses of their own.

The addresses are of 198.18.0.0/15, which is set aside for benchmarks and routed nowhere (RFC 2544).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PREFIX = "exatrkx-"  # of all names of namespaces and devices
BRIDGE = f"{PREFIX}br"
CONTROLLER = "198.18.77.1"
STATE = Path("/run/exatrkx-slurm")  # all files of the test cluster
# By which a measurement keeps others on its machine waiting, see exatrkx_service.measure.lock.
LOCK = Path(f"/tmp/exatrkx-service-{os.getuid()}.lock")


def address(node: str) -> str:
    """Address of a node (``n1``, ``n2``) on the bridge."""
    return f"198.18.77.{10 + int(node[1:])}"


def slow_address(node: str) -> str:
    """Address of a node on the link with a delay, see ``relay``."""
    return f"198.18.78.{10 + int(node[1:])}"


def namespace(node: str) -> str:
    """Name of a node's network namespace."""
    return PREFIX + node


def inside(node: str, *command: str) -> list[str]:
    """A command line that runs a command on a node.

    A node has its own network, host name and /etc/hosts, and as a machine of its own a lock of its
    own: its measurements wait for no other node's, and for none of those outside the cluster.
    """
    begin = (
        'hostname "$0" && mount --bind "$1" /etc/hosts && mount --bind "$2" "$3" && shift 3 &&'
        ' exec "$@"'
    )
    return [
        *("nsenter", f"--net=/run/netns/{namespace(node)}", "unshare", "--uts", "--mount"),
        *("sh", "-c", begin, node, str(STATE / f"hosts-{node}")),
        *(str(STATE / f"lock-{node}"), str(LOCK), *command),
    ]


def with_lock(lock: Path, *command: str) -> list[str]:
    """A command line that runs a command outside the cluster with a lock of its own."""
    begin = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", begin, str(lock), str(LOCK), *command]


def ip(*arguments: str) -> str:
    """Runs the program ``ip``."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def namespaces() -> list[str]:
    """The namespaces of the test cluster that exist."""
    names = (line.split()[0] for line in ip("netns", "list").splitlines() if line.strip())
    return [name for name in names if name.startswith(PREFIX)]


def pids(name: str) -> list[int]:
    """The processes in a namespace."""
    return [int(pid) for pid in ip("netns", "pids", name).split()]


def create(nodes: list[str], controller: str, *, delayed: bool) -> None:
    """Makes the bridge and a namespace per node.

    Args:
        nodes: their names.
        controller: host name of the machine itself.
        delayed: whether the nodes know each other by their addresses on the delayed link.
    """
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("address", "add", f"{CONTROLLER}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    LOCK.touch(mode=0o600)
    for node in nodes:
        name, outer = namespace(node), f"{PREFIX}{node}"
        ip("netns", "add", name)
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", outer, "master", BRIDGE, "up")
        ip("-n", name, "address", "add", f"{address(node)}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        hosts = ["127.0.0.1 localhost", f"{CONTROLLER} {controller}", f"{address(node)} {node}"]
        other = slow_address if delayed else address
        hosts += [f"{other(each)} {each}" for each in nodes if each != node]
        (STATE / f"hosts-{node}").write_text("\n".join(hosts) + "\n")
        (STATE / f"lock-{node}").touch(mode=0o600)


def remove() -> None:
    """Removes what ``create`` made, as far as it is there."""
    for name in namespaces():
        ip("netns", "delete", name)
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        ip("link", "delete", BRIDGE)
