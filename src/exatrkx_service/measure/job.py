"""One measurement: one service option, one round, with a server of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import Client, RequestTimeout
from exatrkx_service.measure import host
from exatrkx_service.measure.backlog import Backlog
from exatrkx_service.measure.load import hash_labels, run_load
from exatrkx_service.measure.lock import only_measurement
from exatrkx_service.measure.rows import SIZES, tidy
from exatrkx_service.measure.statistics import (
    StatisticsError,
    describe_models,
    means_between,
    read_counts,
)
from exatrkx_service.measure.trace import Request, read_trace
from exatrkx_service.measure.warmup import in_threads, pick_events, sweep_until_warm
from exatrkx_service.options import ENSEMBLE, STAGES, Option
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Lap, Stopwatch
from exatrkx_service.serving.journal import check_processes, cold_processes, read_journals
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.memory import tensor_bytes
from exatrkx_service.serving.other_node import launch_on_other_node
from exatrkx_service.serving.server import Server, ServerError

N_FIRST = 3  # sizes of the events that each client sends before the clock starts


class TracksError(ValueError):
    """An option that gives other tracks than the pipeline in one process."""


class Measurement:
    """One option, with its server if it needs one; see ``measure`` for the arguments."""

    def __init__(
        self,
        option: Option,
        reference: pd.DataFrame,
        model_repository: Path,
        config: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self.option = option
        self.labels = reference.set_index("event").labels_sha256
        self.pipeline, self.settings = config["pipeline"], config["server"]
        self.plan = config["measure"]
        self.repository = model_repository
        self.say = say
        self.server: Server | None = None
        self.clients: list[Client] = []
        self.backlog: Backlog | None = None
        self.facts: dict[str, Any] = {"option": option.name, "server": None}
        self.watch = host.Watch()

    def start(self, stack: contextlib.ExitStack, work: Path, log: Path, largest: dict) -> None:
        """Starts the server, and makes the client's stages ready."""
        self.facts["device"] = devices.resolve(self.pipeline["device"])
        if self.option.needs_server:
            self.say(f"starting a server with {', '.join(self.option.models)}")
            start = launch_on_other_node if self.settings["node"] == "other" else launch
            self.server = stack.enter_context(
                start(
                    self.repository,
                    self.option.models,
                    work,
                    self.settings,
                    self.pipeline,
                    log=log,
                    largest=largest,
                )
            )
            self._ask_server(self.server)
        self.placement = Placement(self.option, self.repository, dict(self.pipeline))

    def _ask_server(self, server: Server) -> None:
        """What the server itself says of how it serves."""
        self.facts["server"] = server.version
        self.facts["server_machine"] = server.machine
        if server.process is not None:
            self.watch.roots = (server.process.pid,)
        try:
            models = describe_models(server, self.option.models)
            # Clients address the ensemble alone, or the stages alone.
            addressed = {ENSEMBLE} if self.option.mode == "ensemble" else set(self.option.models)
            self.backlog = Backlog(server, addressed, self.clients)
        except StatisticsError as error:
            models = {}
            self.say(f"warning: {error}")
        self.facts["models"] = models
        found = {model["device"] for model in models.values() if model["backend"] != "ensemble"}
        self.facts["device"] = found.pop() if len(found) == 1 else None
        cached = [name for name, model in models.items() if model["response_cache"]]
        if cached and self.settings["response_cache"] == "refuse":
            raise ServerError(
                f"the server answers {', '.join(cached)} from a response cache, so nothing would "
                "be computed: switch it off there, or set server.response_cache: allow to measure "
                "the cache"
            )
        if server.journals and not server.native:
            self.facts["processes"] = check_processes(server.journals)

    def connect(self) -> tuple[Client | None, Callable[[], None]]:
        """A client's connection, and the function that closes it."""
        server = self.server
        if server is None:
            return None, lambda: None
        protocol = self.settings["protocol"]
        url = server.grpc_url if protocol == "grpc" else server.http_url
        client = Client(url, protocol, self.plan["request_timeout_s"], server.token)
        self.clients.append(client)
        return client, client.close

    def make_pipeline(self) -> tuple[Pipeline, Callable[[], None]]:
        """One client's pipeline, and the function that closes its connection."""
        client, close = self.connect()
        return self.placement.pipeline(client), close

    def check(self) -> None:
        """Raises if it makes no sense to go on."""
        if self.server:
            self.server.check_alive()

    def drain(self) -> None:
        """Waits until the server has done what its clients have given up."""
        if self.backlog:
            self.say("a request timed out: waiting until the server has done it")
            self.backlog.drain(self.check)

    def warm_up(self, events: Mapping[int, np.ndarray]) -> None:
        """Sends events of all sizes until every instance of every model is warm.

        Raises:
            TracksError: an event's tracks are not those of the reference.
            ServerError: a lone request takes too long, or the server died.
        """
        tensors: dict[int, dict[str, Any]] = {}

        def alone(_: int) -> None:
            pipeline, close = self.make_pipeline()
            try:
                sweeps = sweep_until_warm(lambda number: sweep(pipeline, number))
            finally:
                close()
            self.facts["warmup_sweeps"] = sweeps

        def sweep(pipeline: Pipeline, number: int) -> None:
            for event, space_points in events.items():
                try:
                    found = pipeline(space_points, request_id=f"warmup/{number}/{event}")
                except RequestTimeout as error:
                    raise ServerError(
                        f"option {self.option.name}, warm-up: event {event} "
                        f"({len(space_points):,} space points), sent alone: {error.message()}; "
                        "raise it, or look at the server's log"
                    ) from None
                self._check_labels(event, found["labels"])
                tensors[event] = found

        in_threads(alone, 1, self.check)
        for model in sorted(set(self.option.models) - {ENSEMBLE}):
            instances = self.facts["models"].get(model, {}).get("instances") or 1
            if instances > 1:
                self._warm_instances(model, instances, events, tensors)

    def _check_labels(self, event: int, labels: np.ndarray) -> None:
        if hash_labels(labels) != self.labels[event]:
            raise TracksError(
                f"option {self.option.name}: the tracks of event {event} are not those that the "
                "pipeline finds in one process (the reference); is that another network, another "
                "cut, another labeling on the server?"
            )

    def _warm_instances(
        self,
        model: str,
        instances: int,
        events: Mapping[int, np.ndarray],
        tensors: dict[int, dict[str, Any]],
    ) -> None:
        """Sends each event to all instances of a model at the same moment."""
        stages = Placement(Option(self.option.name, "stages", STAGES), self.repository, {})
        whole = self.option.mode == "fused"

        def send(number: int, sweep: int) -> None:
            client, close = self.connect()
            try:
                steps = (self.placement if whole else stages).pipeline(client).steps
                step = next(step for step in steps if step.model == model)
                for event in events:
                    step(dict(tensors[event]), Stopwatch(), f"warmup/{sweep}/{number}/{event}")
            finally:
                close()

        if not whole and self.option.mode == "ensemble":
            # The ensemble gives the labels alone; its steps take what is between.
            client, close = self.connect()
            for event, space_points in events.items():
                tensors[event] = stages.pipeline(client)(space_points, request_id=f"warmup/{event}")
            close()
        sweep_until_warm(
            lambda sweep: in_threads(partial(send, sweep=sweep), instances, self.check)
        )

    def run(self, events: Mapping[int, np.ndarray], first: dict, concurrency: int, seed: int):
        """Runs the load of one concurrency; gives its samples."""
        server, option = self.server, self.option
        before: dict[str, Any] = {}

        def begin() -> None:
            before["host"] = self.watch.read()
            if server and self.facts["models"]:
                before["counts"] = read_counts(server, option.models)

        load = run_load(
            self.make_pipeline,
            events,
            first=first,
            concurrency=concurrency,
            repetitions=self.plan["repetitions"],
            seed=seed,
            tag=f"c{concurrency}",
            check=self.check,
            drain=self.drain,
            begin=begin,
        )
        cell: dict[str, Any] = {"concurrency": concurrency, "ended_early": load.ended_early}
        if "host" in before:
            cell |= host.between(before["host"], self.watch.read())
        self.facts.setdefault("cells", []).append(cell)
        if "counts" in before:
            means = means_between(before["counts"], read_counts(server, option.models), concurrency)
            self.facts.setdefault("statistics", []).extend(means)
            hits = {row["model"]: row["cache_hits"] for row in means if row["cache_hits"]}
            if hits and self.settings["response_cache"] == "refuse":
                raise ServerError(f"the server answered from a response cache: {hits}")
        failed = sum(bool(sample.error) for sample in load.samples)
        if failed == len(load.samples) and not self.facts["cells"][1:]:
            raise ServerError(
                f"option {option.name}, {concurrency} clients: no request succeeded: "
                f"{load.samples[-1].error}"
            )
        self.say(
            f"concurrency {concurrency}: {len(load.samples)} events, {failed} failed"
            + (f"; ended early: {load.ended_early}" if load.ended_early else "")
        )
        return load.samples


def measure(
    option: Option,
    round_number: int,
    events: Mapping[int, np.ndarray],
    reference: pd.DataFrame,
    model_repository: Path,
    config: Mapping[str, Any],
    work: Path,
    log: Path,
    say: Callable[[str], None] = print,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Times one option over the grid of concurrencies.

    Args:
        option: the service option.
        round_number: from 1; also seeds the order of the events.
        events: space points by event number.
        reference: one row per event with its sizes and the labels that it must give, see
            ``reference.run_reference``.
        model_repository: of this configuration, see ``serving.repository.export_repository``.
        config: the sections ``pipeline`` (with the identity of its networks, see
            ``identity.with_networks``), ``server`` and ``measure`` of the configuration.
        work: an empty folder for the server's files.
        log: file for the server's output.
        say: gets one line per step that the user is to see.

    Returns:
        The tidy rows, and what to know about the job: the server and its models as they say
        themselves, the machine meanwhile, times spent.

    Raises:
        ServerError: the server did not start, died, hangs, or answers from a cache.
        TracksError: the option gives other tracks.
        InferenceServerException: a warm-up request failed.
    """
    devices.settle(config["pipeline"]["threads"])
    job = Measurement(option, reference, model_repository, config, say)
    facts = job.facts
    facts |= {"round": round_number, "limits": host.limits()}
    samples = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_measurement(f"option {option.name}, round {round_number}", say))
        begin = time.monotonic()
        facts["began"] = datetime.now(UTC).isoformat(timespec="seconds")
        facts["load_average"] = os.getloadavg()[0]
        largest = tensor_bytes(*reference[[*SIZES]].max().astype(int))
        job.start(stack, work, log, largest)
        facts["start_s"] = time.monotonic() - begin
        warm = pick_events(events, config["measure"]["warmup_events"])
        job.warm_up(warm)
        facts["warmup_s"] = time.monotonic() - begin - facts["start_s"]
        for concurrency in config["measure"]["concurrency"]:
            seed = round_number * 1000 + concurrency
            samples[concurrency] = job.run(events, pick_events(warm, N_FIRST), concurrency, seed)
        facts["timed_s"] = sum(cell.get("window_s", 0) for cell in facts["cells"])
        job.check()
    server = job.server
    requests: dict[str, Request] | None = {}
    journals: dict[str, list[Lap]] = {}
    if server and server.trace:
        requests, journals = read_trace(server.trace), read_journals(server.journals)
        facts["cold_processes"] = cold_processes(server.journals)
    elif server:
        requests = None
        say("the server's trace can't be had: requests are not divided; see its statistics")
    rows = tidy(
        samples,
        requests,
        journals,
        reference,
        option=option.name,
        round_number=round_number,
        same_clock=server.same_clock if server else True,
        native=server.native if server else (),
    )
    facts["affinity_after"] = sorted(os.sched_getaffinity(0))
    facts["wall_s"] = time.monotonic() - begin
    return rows, facts
