"""One measurement: one service option, one round, with a server of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import Client
from exatrkx_service.compiled import describe_kernels
from exatrkx_service.measure import host
from exatrkx_service.measure.backlog import Backlog
from exatrkx_service.measure.batches import batched, reference_of_batches
from exatrkx_service.measure.cell import Cell, Measuring, affinities
from exatrkx_service.measure.clients import ClientError, Crew, Task, clients
from exatrkx_service.measure.first_requests import FirstRequests
from exatrkx_service.measure.floor import measure_floor
from exatrkx_service.measure.load import OPTION
from exatrkx_service.measure.lock import only_measurement
from exatrkx_service.measure.rows import SIZES, tidy, tidy_blocks
from exatrkx_service.measure.statistics import (
    Counts,
    StatisticsError,
    describe_models,
    means_between,
    read_counts,
)
from exatrkx_service.measure.their_trace import TheirTrace, divided, traced
from exatrkx_service.measure.trace import read_trace
from exatrkx_service.measure.warmup import pick_events
from exatrkx_service.options import ENSEMBLE, NULL, Option
from exatrkx_service.pipeline import device as devices
from exatrkx_service.serving.journal import check_processes, cold_processes, read_journals
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.memory import tensor_bytes
from exatrkx_service.serving.other_node import launch_on_other_node
from exatrkx_service.serving.server import Server, ServerError

N_FIRST = 3  # sizes of the events that each client sends before the clock starts


class Measurement:
    """One option, with its server if it needs one; see ``measure`` for the arguments.

    ``control`` says whether the clients are to send to S0 as well.
    """

    def __init__(
        self,
        option: Option,
        reference: pd.DataFrame,
        model_repository: Path,
        config: Mapping[str, Any],
        say: Callable[[str], None],
        control: bool = True,
    ) -> None:
        self.option, self.control = option, control
        self.labels = reference.set_index("event").labels_sha256
        self.pipeline, self.settings = config["pipeline"], config["server"]
        self.plan = config["measure"]
        self.repository = model_repository
        self.say = say
        self.server: Server | None = None
        self.clients: list[Client] = []
        self.backlog: Backlog | None = None
        self.crew: Crew | None = None
        self.began_s = 0.0
        self.facts: dict[str, Any] = {
            "option": option.name,
            "server": None,
            "networks": None,
            "kernels": describe_kernels(self.pipeline["kernel_library"]),
        }

    def start(self, stack: contextlib.ExitStack, work: Path, log: Path, largest: dict) -> None:
        """Starts the server, and makes the client's stages ready."""
        self.facts["device"] = devices.resolve(self.pipeline["device"])
        if self.option.needs_server:
            external = self.settings["launcher"] == "external"
            what = "asking the server given for" if external else "starting a server with"
            self.say(f"{what} {', '.join(self.option.models)}")
            self.server = stack.enter_context(self._launch(self.option.models, work, log, largest))
            if self.server.model:
                self.option = replace(self.option, model=self.server.model)
            self._ask_server(self.server)
        self.placement = Placement(self.option, self.repository, dict(self.pipeline))

    def _launch(
        self, models: Sequence[str], work: Path, log: Path, largest: Mapping[str, int] | None = None
    ) -> contextlib.AbstractContextManager[Server]:
        """A server with these models, where the configuration says."""
        start = launch_on_other_node if self.settings["node"] == "other" else launch
        where = (self.repository, models, work, self.settings, self.pipeline)
        return start(*where, log=log, largest=largest)

    def _ask_server(self, server: Server) -> None:
        """What the server itself says of how it serves."""
        self.facts["server"] = server.version
        self.facts["server_machine"] = server.machine
        try:
            models = describe_models(server, self.option.models)
            # Clients address the ensemble alone, or the stages alone.
            addressed = {ENSEMBLE} if self.option.mode == "ensemble" else {*self.option.models}
            self.backlog = Backlog(server, addressed, self._sent)
        except StatisticsError as error:
            models = {}
            self.say(f"warning: {error}")
        self.facts["models"] = models
        if self.option.model:
            self.facts["model"] = asdict(self.option.model)
        found = {model["device"] for model in models.values() if model["backend"] != "ensemble"}
        self.facts["device"] = found.pop() if len(found) == 1 else None
        cached = [name for name, model in models.items() if model["response_cache"]]
        if cached and self.settings["response_cache"] == "refuse":
            raise ServerError(
                f"the server answers {', '.join(cached)} from a response cache, so nothing would "
                "be computed: switch it off there, or set server.response_cache: allow to measure "
                "the cache"
            )
        self.facts["networks"] = server.networks
        if server.journals:
            self.facts["processes"] = check_processes(server.journals)

    def connect(self) -> Client | None:
        """A connection to the server, if there is one; its requests are counted."""
        client = self.task(self.server, None).connect()
        if client:
            self.clients.append(client)
        return client

    def _sent(self) -> Iterator[Mapping[str, int]]:
        """Requests that the server took, by model, of each client."""
        yield from (client.sent for client in list(self.clients))
        yield from self.crew.sent if self.crew else ()

    def check(self) -> None:
        """Raises if it makes no sense to go on."""
        if self.server:
            self.server.check_alive()

    def drain(self) -> None:
        """Waits until the server has done what its clients have given up."""
        if self.backlog:
            self.say("a request timed out: waiting until the server has done it")
            self.backlog.drain(self.check)

    def task(self, server: Server | None, option: Option | None) -> Task:
        """What clients of a server need."""
        protocol = self.settings["protocol"]
        where = {}
        if server:
            where = {"protocol": protocol, "url": server.url(protocol), "access": server.access}
        return Task(
            option,
            self.repository,
            self.pipeline,
            **where,
            timeout_s=self.plan["request_timeout_s"],
            control=self.control and option is not None,
        )

    def server_pids(self) -> list[int] | None:
        """The server's processes; None if they are not on this machine."""
        if self.server is None:
            return []
        if self.server.process is None or not self.server.same_clock:
            return None
        return [process.pid for process in host.family(self.server.process.pid)]

    @contextlib.contextmanager
    def at_work(
        self,
        what: str,
        count: int,
        events: Mapping[int, np.ndarray],
        reference: pd.DataFrame,
        work: Path,
        log: Path,
    ) -> Iterator[Crew]:
        """Keeps ``count`` clients, and a server if one is needed, all of them warm, for a block.

        Args:
            what: of the option is measured, for those who wait for it.
            count: number of clients.
            events: space points by event number.
            reference: see ``measure``.
            work: an empty folder for the server's files.
            log: file for the server's output.
        """
        facts = self.facts
        with contextlib.ExitStack() as stack:
            stack.enter_context(only_measurement(f"option {self.option.name}, {what}", self.say))
            self.began_s = time.monotonic()
            facts["began"] = datetime.now(UTC).isoformat(timespec="seconds")
            facts["load_average"] = os.getloadavg()[0]
            self.start(stack, work, log, tensor_bytes(*reference[[*SIZES]].max().astype(int)))
            facts["start_s"] = time.monotonic() - self.began_s
            warm = pick_events(events, self.plan["warmup_events"])
            self._warm_up(warm)
            task = self.task(self.server, self.option)
            crew = stack.enter_context(clients(self.plan["clients"], count, task, events))
            crew.ready(self.check)
            self.crew = crew
            failures = crew.warm(list(pick_events(warm, N_FIRST)), "first/warm", self.check)
            if failures:
                if any(sample.timed_out for sample in failures):
                    self.drain()
                raise ServerError(f"option {self.option.name}: {failures[0].error}")
            facts["warmup_s"] = time.monotonic() - self.began_s - facts["start_s"]
            yield crew
            self.check()
        facts["affinity_after"] = sorted(os.sched_getaffinity(0))

    def _warm_up(self, events: Mapping[int, np.ndarray]) -> None:
        instances = {
            name: model["instances"] or 1
            for name, model in self.facts.get("models", {}).items()
            if name != ENSEMBLE and name in self.option.models
        }
        first = FirstRequests(
            self.option, self.repository, self.placement, self.connect, self.labels, self.check
        )
        self.facts["warmup_sweeps"] = first.send(events, instances)

    def find_floor(self, work: Path, typical: Mapping[str, int]) -> None:
        """What the clients cost at a model that computes nothing, see ``floor``."""
        if not self.option.needs_server:
            return
        if self.option.model:
            self.facts["driver"] = "not measured: the server has somebody else's model alone"
            return
        steps = self.placement.pipeline(None).steps
        try:
            with (
                only_measurement(f"option {self.option.name}, the driver", self.say),
                self._launch([NULL], work, work / "server.log") as server,
            ):
                task = self.task(server, None)
                self.facts["driver"] = measure_floor(server, self.plan, task, steps, typical)
        except (ServerError, ClientError) as error:
            self.facts["driver"] = f"not measured: {str(error).partition('; the end')[0]}"
            self.say(f"warning: the driver's overhead is {self.facts['driver']}")

    def cells(self, crew: Crew, events: Mapping[int, np.ndarray], seed: int) -> Iterator[Cell]:
        """Measures the cells, one concurrency after the other."""
        pids = self.server_pids()
        measuring = Measuring(crew, events, self.plan, pids, self.check, self.drain)
        for concurrency in self.plan["concurrency"]:
            before = self._read_counts()
            cell = measuring.cell(concurrency, seed * 1000 + concurrency)
            self._note(cell, before)
            yield cell
        self.facts["affinities"] = affinities(crew, pids)

    def _read_counts(self) -> Counts | None:
        if not self.server or not self.facts["models"]:
            return None
        try:
            return read_counts(self.server, list(self.facts["models"]))
        except StatisticsError as error:
            if not self.option.model:
                raise
            # Somebody else's may have a limit on questions, too.
            self.say(f"warning: {error}")
            return None

    def _note(self, cell: Cell, before: Counts | None) -> None:
        """Keeps the facts of a cell, and tells how it went."""
        self.facts.setdefault("cells", []).append(cell.facts())
        after = None if before is None else self._read_counts()
        if after is not None:
            means = means_between(before, after, cell.concurrency)
            self.facts.setdefault("statistics", []).extend(means)
            hits = {row["model"]: row["cache_hits"] for row in means if row["cache_hits"]}
            if hits and self.settings["response_cache"] == "refuse":
                raise ServerError(f"the server answered from a response cache: {hits}")
        option = [s for block in cell.samples for s in block if s.arm == OPTION]
        failed = sum(sample.status == "failed" for sample in option)
        rejected = sum(sample.rejected for sample in option)
        done = sum(row["n_done"] for row in cell.blocks if row["arm"] == OPTION)
        if failed and not done and not self.facts["cells"][1:]:
            raise ServerError(
                f"option {self.option.name}, {cell.concurrency} clients: no request succeeded: "
                f"{option[-1].error}"
            )
        cost, half = cell.cost.value, cell.relative_half_width
        unknown = f"not known from {len(cell.costs)} undisturbed blocks"
        known = f", cost {cost:+.2f} ms" if cost == cost else f", cost {unknown}"
        known += f" ± {half:.1%} of the control" if half == half else ""
        ended = f"; ended early: {cell.ended_early}" if cell.ended_early else ""
        self.say(
            f"concurrency {cell.concurrency}: {len(option)} events in {len(cell.samples)} blocks, "
            f"{failed} failed{f', {rejected} turned away' if rejected else ''}{known}{ended}"
        )

    def their_trace(self) -> contextlib.AbstractContextManager[TheirTrace | None]:
        """Traces the requests to somebody else's model, if the option has one."""
        return traced(self.server) if self.option.model else contextlib.nullcontext()

    def rows(
        self, cells: Sequence[Cell], theirs: TheirTrace | None, of: Mapping[str, Any]
    ) -> pd.DataFrame:
        """The tidy rows, their requests divided by the server's trace where it can be had.

        Args:
            cells: what was measured.
            theirs: the trace of somebody else's server.
            of: other arguments of ``rows.tidy``.
        """
        server = self.server
        make = partial(tidy, cells, journals={}, **of)
        if server is None:
            return make(requests={})
        if server.trace:
            self.facts["cold_processes"] = cold_processes(server.journals)
            return make(
                requests=read_trace(server.trace),
                journals=read_journals(server.journals),
                same_clock=server.same_clock,
                native=server.native,
            )
        samples = [sample for cell in cells for block in cell.samples for sample in block]
        theirs = theirs or TheirTrace(reason="it is not asked for")
        table = divided(theirs, make, samples)
        self.facts["trace"] = theirs.reason or "read"
        if theirs.reason:
            self.say(
                f"the server's trace can't be had ({theirs.reason}): requests are not divided; see "
                "its statistics"
            )
        return table


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
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Times one option, and its control beside it, over the grid of concurrencies.

    Args:
        option: the service option.
        round_number: from 1; also seeds the order of the events.
        events: space points by event number; of an option with several in a request, batches of
            them take their place, see ``batches``.
        reference: one row per event with its sizes and the labels that it must give, see
            ``reference.run_reference``.
        model_repository: of this configuration, see ``serving.repository.export_repository``.
        config: the sections ``pipeline`` (with the identity of its networks, see
            ``identity.with_networks``), ``server`` and ``measure`` of the configuration.
        work: an empty folder for the server's files.
        log: file for the server's output.
        say: gets one line per step that the user is to see.

    Returns:
        The tidy rows; one row per block and arm; and what to know about the job: the server and its
        models as they say themselves, the machine meanwhile, times spent.

    Raises:
        ServerError: the server did not start, died, hangs, or answers from a cache.
        TracksError: the option gives other tracks.
        ClientError: a client ended.
        InferenceServerException: a warm-up request failed.
    """
    devices.settle(config["pipeline"]["threads"])
    if option.batch > 1:
        events = batched(events, option.batch)
        reference = reference_of_batches(reference, option.batch)
    job = Measurement(option, reference, model_repository, config, say)
    facts, plan = job.facts, config["measure"]
    facts |= {"round": round_number, "limits": host.limits(), "clients": plan["clients"]}
    cells: list[Cell] = []
    most = max(plan["concurrency"])
    with (
        job.at_work(f"round {round_number}", most, events, reference, work, log) as crew,
        job.their_trace() as theirs,
    ):
        for cell in job.cells(crew, events, round_number):
            cells.append(cell)
        facts["timed_s"] = sum(cell.seconds for cell in cells)
    job.find_floor(work / "floor", tensor_bytes(*reference[[*SIZES]].median().astype(int)))
    of = {"sizes": reference, "option": option.name, "round_number": round_number}
    rows = job.rows(cells, theirs, of)
    facts["wall_s"] = time.monotonic() - job.began_s
    return rows, tidy_blocks(cells, option.name, round_number), facts
