"""Starts the server that the configuration names, and owns it; or finds somebody else's."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

from tritonclient.utils import InferenceServerException

from exatrkx_service.pipeline import device as devices
from exatrkx_service.serving import container, embedded, journal
from exatrkx_service.serving.process import guarded_process
from exatrkx_service.serving.repository import prepare
from exatrkx_service.serving.server import (
    LOOPBACK,
    NotReady,
    Server,
    ServerError,
    ask_version,
    check_free,
    free_ports,
    server_arguments,
    tail,
    wait_ready,
)


@contextlib.contextmanager
def launch(
    model_repository: Path,
    models: Sequence[str],
    work: Path,
    settings: Mapping[str, Any],
    pipeline: Mapping[str, Any],
    *,
    address: str = LOOPBACK,
    token: str = "",
) -> Iterator[Server]:
    """Runs a server for as long as the block lasts.

    Args:
        model_repository: the tracked model repository, with the exported networks.
        models: names of the models to load, no others are.
        work: an empty folder for the server's repository, backends, log and trace; without spaces
            in its path.
        settings: the ``server`` section of the configuration.
        pipeline: its ``pipeline`` section.
        address: what the server listens on.
        token: what its clients must know; empty for all.

    Raises:
        ServerError: the work folder's path has a space, the server is missing, a port is taken, it
            is not ready in time, or it died and so a request in the block failed; the message holds
            the end of its log.
    """
    if settings["launcher"] == "external":
        yield _external(settings, models)
        return
    if " " in str(work):  # Triton gives the paths in it to a shell as they are
        raise ServerError(
            f"{work}: the server can't work in a folder whose path has a space; "
            "set TMPDIR to one without"
        )
    device = devices.resolve(pipeline["device"])
    journals = work / "journals"
    journals.mkdir(parents=True)
    prepare(
        model_repository, work / "models", pipeline, device=device, instances=settings["instances"]
    )
    variables = devices.library_environment(pipeline["threads"]) | {journal.FOLDER: str(journals)}
    if settings["launcher"] == "embedded":
        program = embedded.prepare(work)
        environment = embedded.environment(variables)
        native: tuple[str, ...] = ()
    else:
        program = container.prepare(
            settings["launcher"],
            settings["image"],
            model_repository,
            work,
            device=device,
            variables=variables,
        )
        environment = dict(os.environ)
        native = container.NATIVE
    ports = settings.get("ports") or free_ports(address)
    check_free(ports, address)
    region = f"exatrkx_{secrets.token_hex(6)}_"
    arguments = server_arguments(
        work, models, ports, region, settings["stop_timeout_s"], address=address, token=token
    )
    log = work / "server.log"
    with guarded_process(
        [*program, *arguments],
        environment,
        log,
        region=region,
        stop_timeout_s=settings["stop_timeout_s"],
    ) as process:
        version = wait_started(process, address, ports, models, log, settings["start_timeout_s"])
        yield from owned(
            Server(
                grpc_url=f"{address}:{ports['grpc']}",
                http_url=f"{address}:{ports['http']}",
                version=version,
                process=process,
                log=log,
                trace=work / "trace.json",
                journals=journals,
                native=native,
                token=token,
            )
        )


def owned(server: Server) -> Iterator[Server]:
    """Yields a server; a request that failed because it had died is told as its end."""
    try:
        yield server
    except InferenceServerException:
        server.check_alive(wait_s=10)  # that it died explains more than that a request failed
        raise


def wait_started(
    process: Popen,
    address: str,
    ports: Mapping[str, int],
    models: Sequence[str],
    log: Path,
    timeout_s: float,
) -> str:
    """Waits until a server that was started is ready; gives its version.

    Raises:
        ServerError: it ended, or was not ready in time; the message holds the end of its log.
    """

    def check() -> None:
        code = process.poll()
        if code is not None:
            raise ServerError(f"the server ended with code {code} at start; {tail(log)}")

    try:
        return wait_ready(address, ports, models, timeout_s, check)
    except NotReady as error:
        raise ServerError(
            f"the server was not ready within server.start_timeout_s = {timeout_s:g} s "
            f"({error}); {tail(log)}"
        ) from None


def _external(settings: Mapping[str, Any], models: Sequence[str]) -> Server:
    """Somebody else's server; nothing is started, and its trace can't be had."""
    urls = settings["urls"]
    version = ask_version(urls["grpc"], models)
    return Server(grpc_url=urls["grpc"], http_url=urls["http"], version=version)
