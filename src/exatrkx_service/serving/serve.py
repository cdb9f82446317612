"""Runs a server for clients on another node; a program of its own, started by ``other_node``.

It publishes where the server is, in a file that only its user can read: host, ports, and the token
that a client must send. It ends when its standard input does, because the clients' job is done or
is gone; when it gets SIGTERM; and when the server ends.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.process import sigterm_as_exit

ENDPOINT = "endpoint.json"
ANY_ADDRESS = "0.0.0.0"


def publish(path: Path, endpoint: dict[str, Any]) -> None:
    """Writes an endpoint as a whole: who sees the file can read all of it."""
    temporary = path.with_suffix(".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(endpoint, file)
    temporary.rename(path)


def serve(order: dict[str, Any]) -> None:
    """Runs the server that was ordered.

    Args:
        order: the arguments of ``launch``: ``model_repository``, ``models``, ``work``,
            ``settings``, ``pipeline``.

    Raises:
        ServerError: the server did not start, or ended.
    """
    work = Path(order["work"])
    token = secrets.token_hex(16)
    with launch(
        Path(order["model_repository"]),
        order["models"],
        work,
        order["settings"],
        order["pipeline"],
        address=ANY_ADDRESS,
        token=token,
    ) as server:
        ports = {"grpc": server.grpc_url, "http": server.http_url}
        publish(
            work / ENDPOINT,
            {
                "host": socket.gethostname(),
                "ports": {name: int(url.rpartition(":")[2]) for name, url in ports.items()},
                "token": token,
                "version": server.version,
            },
        )
        # In slices: see ``run_load``.
        while server.process.poll() is None:
            time.sleep(0.5)
        server.check_alive()


def _end_with_the_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    with sigterm_as_exit():
        threading.Thread(target=_end_with_the_input, daemon=True).start()
        serve(json.loads(Path(sys.argv[1]).read_text()))
