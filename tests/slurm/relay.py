"""A link with a delay between two nodes of the test cluster.

Not every kernel has netem, so packets are delayed in user space: a TUN device in each of the two
namespaces, and this program in between, which passes each packet on after the delay.

Use: python relay.py DELAY_MS NODE NODE
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue

from network import ip, namespace, slow_address

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # <linux/if_tun.h>
CLONE_NEWNET = 0x40000000  # <linux/sched.h>
DEVICE = "slow0"
MTU = 1500


def open_tun(node: str, other: str) -> int:
    """Makes the TUN device of a node; gives its file descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace(node)}").open() as place:
        if libc.setns(place.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {namespace(node)}")
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    name = namespace(node)
    ip("-n", name, "address", "add", slow_address(node), "peer", slow_address(other), "dev", DEVICE)
    ip("-n", name, "link", "set", DEVICE, "mtu", str(MTU), "up")
    return tun


def forward(source: int, target: int, delay_s: float) -> None:
    """Passes packets on, each ``delay_s`` after it came."""
    waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def send() -> None:
        while True:
            due, packet = waiting.get()
            time.sleep(max(0, due - time.monotonic()))
            os.write(target, packet)

    threading.Thread(target=send, daemon=True).start()
    while True:
        packet = os.read(source, MTU + 100)
        waiting.put((time.monotonic() + delay_s, packet))


def main(delay_ms: str, first: str, second: str) -> None:
    """Relays between two nodes until it is killed."""
    delay_s = float(delay_ms) / 1000
    tuns = open_tun(first, second), open_tun(second, first)
    threading.Thread(target=forward, args=(*tuns, delay_s), daemon=True).start()
    print("ready", flush=True)
    forward(*reversed(tuns), delay_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
