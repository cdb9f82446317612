"""A Triton server as its clients see it, and what all launchers share."""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

import tenacity

from exatrkx_service.options import TheirModel
from exatrkx_service.serving.access import TOKEN_HEADER, Access
from exatrkx_service.serving.health import Health, ServerError
from exatrkx_service.serving.inquiry import Inquiry, ask_version

LOOPBACK = "127.0.0.1"
PORTS = ("http", "grpc", "metrics")
# What another user of the network must not do; health and metadata are open.
_RESTRICTED = (
    *("inference", "shared-memory", "model-repository", "model-config"),
    *("statistics", "trace", "logging"),
)


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        grpc_url, http_url: ``host:port``.
        version: of the server, as it says itself.
        process: what runs it, and ends when it does; None for somebody else's.
        health: of its processes on this machine.
        log: its output; None for somebody else's.
        trace: file with the time stamps of each request; complete once the server has ended.
            None where it can't be had.
        journals: folder with the notes of the served models; likewise.
        native: stages that a backend computes in the server's own process, without a model that
            takes notes.
        networks: what serves the networks, in words; None if not known.
        access: how it lets its clients in.
        asked: the protocol by which it is asked about itself.
        model: the one that it has, if it is somebody else's.
        same_clock: whether the time stamps of the trace are on the clients' clock.
        machine: where it runs: that of the clients, or a description.
    """

    grpc_url: str
    http_url: str
    version: str
    process: Popen | None = None
    health: Health = field(default_factory=Health)
    log: Path | None = None
    trace: Path | None = None
    journals: Path | None = None
    native: tuple[str, ...] = ()
    networks: str | None = None
    access: Access = field(default_factory=Access)
    asked: str = "grpc"
    model: TheirModel | None = None
    same_clock: bool = True
    machine: Any = "that of the clients"

    def url(self, protocol: str) -> str:
        """``host:port`` of ``grpc`` or ``http``."""
        return {"grpc": self.grpc_url, "http": self.http_url}[protocol]

    def inquiry(self) -> Inquiry:
        """For questions to it."""
        return Inquiry(self.url(self.asked), self.asked, self.access)

    def check_alive(self, wait_s: float = 0) -> None:
        """Raises ServerError, with the end of the server's log, if it does not work any more.

        Args:
            wait_s: how long to wait for its end: a request fails a moment before that shows [s].
        """
        if self.process is None:
            return
        with contextlib.suppress(TimeoutExpired):
            code = self.process.wait(wait_s)
            raise ServerError(f"the server ended with code {code}; {tail(self.log)}")
        try:
            self.health.check()
        except ServerError as error:
            raise ServerError(f"{error}; {tail(self.log)}") from None


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return f"the end of its log {log}:\n  " + "\n  ".join(text)


def check_free(ports: Mapping[str, int], address: str = LOOPBACK) -> None:
    """Raises ServerError, with the key of the configuration, if one of the ports is taken."""
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise ServerError(
                    f"server.ports.{name}: port {port} on {address} is taken ({error.strerror}); "
                    "give another, or leave server.ports out to take free ones"
                ) from None


def free_ports(address: str = LOOPBACK) -> dict[str, int]:
    """Three ports that are free at an address of this machine, for HTTP, gRPC and metrics."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for one in sockets:
            one.bind((address, 0))
        numbers = [one.getsockname()[1] for one in sockets]
    return dict(zip(PORTS, numbers, strict=True))


def server_arguments(
    work: Path,
    models: Sequence[str],
    ports: Mapping[str, int],
    region: str,
    stop_timeout_s: float,
    *,
    address: str = LOOPBACK,
    token: str = "",
) -> list[str]:
    """The arguments of tritonserver that are the same in every launcher.

    Args:
        work: folder with the model repository ``models``; gets the trace.
        models: the models to load.
        ports: by name, see ``PORTS``.
        region: beginning of the names of its shared memory.
        stop_timeout_s: how long it may take to stop [s].
        address: what it listens on.
        token: if not empty, only clients that know it may do more than see whether it is there.
    """
    arguments = [
        f"--model-repository={work / 'models'}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        # Every request is traced: the parts of each event come from its own time stamps.
        f"--trace-config=triton,file={work / 'trace.json'}",
        "--trace-config=level=TIMESTAMPS",
        "--trace-config=rate=1",
        "--trace-config=count=-1",
        # A name of our own for the shared memory of the Python models, so that the guard can remove
        # it if the server is killed.
        f"--backend-config=python,shm-region-prefix-name={region}",
        # Not less than the guard gives it: a server that gives up on its models writes no trace.
        f"--exit-timeout-secs={math.ceil(stop_timeout_s)}",
    ]
    for name, port in ports.items():
        arguments += [f"--{name}-address={address}", f"--{name}-port={port}"]
    if token:
        secret = f"{TOKEN_HEADER}={token}"
        arguments.append(f"--grpc-restricted-protocol={','.join(_RESTRICTED)}:{secret}")
        arguments.append(f"--http-restricted-api={','.join(_RESTRICTED)}:{secret}")
    return arguments


def wait_ready(
    address: str,
    ports: Mapping[str, int],
    models: Sequence[str],
    timeout_s: float,
    check: Callable[[], None],
) -> str:
    """Waits until a server, its models and all its ports are ready; gives its version.

    Args:
        address: its host.
        ports: by name.
        models: the models that must be ready.
        timeout_s: how long to wait [s].
        check: called before each try; raises if it makes no sense to go on.

    Raises:
        NotReady: it was not ready in time; says why not.
    """

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(NotReady),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(timeout_s),
        reraise=True,
    )
    def ask() -> str:
        check()
        try:
            version = ask_version(f"{address}:{ports['grpc']}", models)
        except ServerError as error:
            raise NotReady(str(error)) from None
        # Triton opens the gRPC port first; HTTP and metrics may come a moment later.
        for name, port in ports.items():
            with socket.socket() as probe:
                if probe.connect_ex((address, port)) != 0:
                    raise NotReady(f"the {name} port is not open")
        return version

    return ask()


class NotReady(ServerError):
    """The server is not ready yet."""
