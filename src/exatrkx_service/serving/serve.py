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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exatrkx_service.machine import describe_machine
from exatrkx_service.serving.launch import launch
from exatrkx_service.signals import signals_as_exit

ENDPOINT = "endpoint.json"
ANY_ADDRESS = "0.0.0.0"


def publish(path: Path, endpoint: dict[str, Any]) -> None:
    """Writes an endpoint as a whole: who sees the file can read all of it."""
    temporary = path.with_suffix(".part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(endpoint, file)
    temporary.rename(path)


def serve(order: dict[str, Any], over: threading.Event) -> None:
    """Runs the server that was ordered.

    Args:
        order: the arguments of ``launch``: ``model_repository``, ``models``, ``work``,
            ``settings``, ``pipeline``, ``log``, ``largest``.
        over: set when the server is to end.

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
        log=Path(order["log"]),
        largest=order["largest"],
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
                "native": server.native,
                "networks": server.networks,
                "machine": describe_machine(),
            },
        )
        while not over.wait(0.5):
            server.check_alive()


def serve_models(
    model_repository: Path,
    work: Path,
    settings: dict[str, Any],
    pipeline: dict[str, Any],
    log: Path,
    say: Callable[[str], None],
) -> None:
    """Serves all models of a repository, on this machine, until SIGINT or SIGTERM.

    Args:
        model_repository: of a configuration, with the exported networks.
        work: an empty folder for the server's files.
        settings: the ``server`` section of the configuration.
        pipeline: its ``pipeline`` section, see ``identity.with_networks``.
        log: file for the server's output.
        say: gets where the server is, and how to stop it.

    Raises:
        ServerError: the server did not start, or ended.
    """
    models = sorted(path.parent.name for path in model_repository.glob("*/config.pbtxt"))
    over = threading.Event()
    # Nobody reads its notes, and it may run for days.
    where = (model_repository, models, work, settings, pipeline)
    with launch(*where, log=log, notes=False) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        say(
            f"Triton {server.version} serves {', '.join(models)}\n"
            f"  gRPC: {server.grpc_url}\n  HTTP: {server.http_url}\n  log:  {log}\n"
            f"To stop it: Ctrl-C, or kill {os.getpid()}"
        )
        while not over.wait(0.5):
            server.check_alive()
    say("The server has stopped")


def _wait_for_the_end(over: threading.Event) -> None:
    sys.stdin.buffer.read()
    over.set()


if __name__ == "__main__":
    with signals_as_exit():
        input_ended = threading.Event()
        threading.Thread(target=_wait_for_the_end, args=(input_ended,), daemon=True).start()
        serve(json.loads(Path(sys.argv[1]).read_text()), input_ended)
