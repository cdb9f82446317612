"""Starts the server that the configuration names, and owns it; or finds somebody else's."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from subprocess import Popen
from typing import Any

from tritonclient.utils import InferenceServerException

from exatrkx_service.environment import cleaned, library_variables, unsafe_character
from exatrkx_service.options import FUSED, NETWORKS, STAGES, TheirModel
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.stages import ModelFileError, check_network, script_path
from exatrkx_service.serving import container, embedded, journal, native
from exatrkx_service.serving.access import Access, diagnose
from exatrkx_service.serving.health import Health, ServerError, load_failure
from exatrkx_service.serving.inquiry import Inquiry, Silent
from exatrkx_service.serving.memory import check_room
from exatrkx_service.serving.process import guarded_process
from exatrkx_service.serving.repository import prepare
from exatrkx_service.serving.scripted import scripted_models
from exatrkx_service.serving.server import (
    LOOPBACK,
    NotReady,
    Server,
    check_free,
    free_ports,
    server_arguments,
    tail,
    wait_ready,
)
from exatrkx_service.serving.their_model import ask_interface


@contextlib.contextmanager
def launch(
    model_repository: Path,
    models: Sequence[str],
    work: Path,
    settings: Mapping[str, Any],
    pipeline: Mapping[str, Any],
    *,
    log: Path | None = None,
    largest: Mapping[str, int] | None = None,
    address: str = LOOPBACK,
    token: str = "",
    notes: bool = True,
) -> Iterator[Server]:
    """Runs a server for as long as the block lasts.

    Args:
        model_repository: of this configuration, with the exported networks.
        models: names of the models to load, no others are.
        work: an empty folder for the server's repository, backends and trace; without characters
            in its path that a shell would misread.
        settings: the ``server`` section of the configuration.
        pipeline: its ``pipeline`` section, with the identity of its networks: see
            ``identity.with_networks``.
        log: file for the server's output; in the work folder if not given.
        largest: sizes of the largest event's tensors [bytes], see ``memory.tensor_bytes``.
        address: what the server listens on.
        token: what its clients must know; empty for all.
        notes: whether the models note when they did what, see ``journal``.

    Raises:
        ServerError: the server can't work in the work folder, there is too little shared memory,
            the server is missing, a port is taken, a model can't be loaded, it is not ready in
            time, or it died and so a request in the block failed; the message holds the end of its
            log.
    """
    if settings["launcher"] == "external":
        yield _external(settings, models)
        return
    _check_work_folder(work)
    pipeline = {**pipeline, "threads": settings.get("threads", pipeline["threads"])}
    device = devices.resolve(pipeline["device"])
    journals = work / "journals"
    journals.mkdir(parents=True)
    variables = library_variables(pipeline["threads"])
    variables |= {journal.FOLDER: str(journals)} if notes else {}
    embed = settings["launcher"] == "embedded"
    if embed and settings["backend"] != "python":
        choice = native.read_choice(model_repository)
    else:
        choice = {"backend": "python", "reason": "server.backend: python"}
    scripted: set[str] = set()  # of the models without a network, those that need no Python
    if choice.get("backend") == "native":
        scripted = set(models).intersection(scripted_models(pipeline, device))
    batching = settings.get("dynamic_batching")
    if batching:
        scripted -= {FUSED}  # the native backend has one request at a time
    # What is served in the server's own process.
    own = {*NETWORKS, *scripted} if choice.get("backend") == "native" or not embed else set()
    _check_networks(model_repository, models, own, pipeline)
    prepare(
        model_repository,
        work / "models",
        pipeline,
        device=device,
        instances=settings["instances"],
        scripted=scripted,
        batching=batching,
    )
    if embed:
        networks, library = native.describe(choice), choice.get("library")
        program = embedded.prepare(work, library and Path(library))
        environment = embedded.environment(variables)
    else:
        networks = "LibTorch backend of the container"
        program = container.prepare(
            settings["launcher"],
            settings["image"],
            model_repository,
            work,
            device=device,
            variables=variables,
        )
        environment = cleaned(os.environ)
    if largest:
        python = [model for model in models if model not in own]
        most = batching["max_batch_size"] if batching else 1
        room = {name: most * size for name, size in largest.items()}
        check_room(python, settings["instances"], room)
    ports = settings.get("ports") or free_ports(address)
    check_free(ports, address)
    region = f"exatrkx_{secrets.token_hex(6)}_"
    arguments = server_arguments(
        work, models, ports, region, settings["stop_timeout_s"], address=address, token=token
    )
    log = log or work / "server.log"
    with guarded_process(
        [*program, *arguments],
        environment,
        log,
        region=region,
        work=work,
        stop_timeout_s=settings["stop_timeout_s"],
    ) as process:
        version = wait_started(process, address, ports, models, log, settings["start_timeout_s"])
        yield from owned(
            Server(
                grpc_url=f"{address}:{ports['grpc']}",
                http_url=f"{address}:{ports['http']}",
                version=version,
                process=process,
                health=Health.of(process.pid),
                log=log,
                trace=work / "trace.json",
                journals=journals,
                native=tuple(stage for stage in STAGES if stage in own),
                networks=networks,
                access=Access(token=token),
            )
        )


def _check_networks(
    model_repository: Path, models: Sequence[str], own: Set[str], pipeline: Mapping[str, Any]
) -> None:
    """Raises ServerError if a network is not the one that is expected; Python models look alone."""
    needed = set(NETWORKS) if FUSED in own.intersection(models) else own.intersection(models)
    for stage in NETWORKS:
        if stage in needed:
            try:
                check_network(script_path(model_repository, stage), pipeline["networks"][stage])
            except ModelFileError as error:
                raise ServerError(str(error)) from None


def _check_work_folder(work: Path) -> None:
    # Triton gives the paths in it to a shell as they are.
    if (character := unsafe_character(work)) is not None:
        raise ServerError(
            f"{work}: the server can't work in a folder whose path has {character!r}; "
            "set TMPDIR to one without"
        )
    work.mkdir(parents=True, exist_ok=True)
    if os.statvfs(work).f_flag & os.ST_NOEXEC:
        raise ServerError(
            f"{work}: the server can't work on a file system that is mounted noexec; set TMPDIR to "
            "a folder of another"
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
        ServerError: a model could not be loaded, it ended, or it was not ready in time; the message
            holds the end of its log.
    """

    def check() -> None:
        if failure := load_failure(log):
            raise ServerError(f"the server at start: {failure}\n(log: {log})")
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
    protocol, access = settings["protocol"], Access.from_settings(settings)
    url, model = settings["urls"][protocol], None
    try:
        with Inquiry(url, protocol, access) as server:
            version = server.ask("get_server_metadata").get("version", "not known")
            if "model" in settings:
                model = ask_interface(server, TheirModel.from_config(settings["model"]))
            else:
                server.check_ready(models)
    except Silent:
        if found := diagnose(url, protocol, access):
            raise ServerError(f"the server at {url} does not answer: {found}") from None
        raise
    return Server(
        grpc_url=settings["urls"].get("grpc", ""),
        http_url=settings["urls"].get("http", ""),
        version=version,
        access=access,
        asked=protocol,
        model=model,
        machine="not known",
    )
