"""Clients: threads of one process, or processes of their own, that take turns when told to."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import Client
from exatrkx_service.measure.batches import OneByOne
from exatrkx_service.measure.calls import Calls, send_calls
from exatrkx_service.measure.load import (
    CONTROL,
    OPTION,
    PROCESSES,
    Counters,
    Item,
    Sample,
    Share,
    send_until_taken,
    take_turn,
)
from exatrkx_service.measure.open_loop import Schedule, take_open_turn
from exatrkx_service.measure.warmup import sweep_until_warm
from exatrkx_service.options import Option
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.serving.access import Access

# Processes are forked from one that has imported this module and has used nothing of it: loading
# torch takes seconds, and neither gRPC nor OpenMP survives a fork once it was used.
_PRELOAD = ["exatrkx_service.measure.clients", "torch", "faiss", "scipy.sparse.csgraph"]
PATIENCE_S = 0.25
LEAD_NS = 250_000_000  # a schedule begins so long after all clients were told of it [ns]
CONTROL_OPTION = Option("S0", "stages", ())


class ClientError(RuntimeError):
    """A client that ended, or could not start."""


@dataclass(frozen=True)
class Task:
    """What a client needs to send events, for the option and for its control.

    Attributes:
        option: the service option; None for clients that send requests to single models alone.
        repository: folder that holds the exported networks.
        parameters: the ``pipeline`` section of the configuration.
        protocol: ``grpc`` or ``http``.
        url: ``host:port`` of the server; empty if there is none.
        access: how the server lets its clients in.
        timeout_s: a request that takes longer fails [s].
        control: whether they send to the control as well.
    """

    option: Option | None
    repository: Path
    parameters: Mapping[str, Any]
    protocol: str = "grpc"
    url: str = ""
    access: Access = field(default_factory=Access)
    timeout_s: float = 60.0
    control: bool = True

    def connect(self) -> Client | None:
        """A connection to the server, if there is one."""
        if not self.url:
            return None
        return Client(self.url, self.protocol, self.timeout_s, self.access)


Pipelines = Callable[[], tuple[dict[str, Pipeline], Client | None]]


def make_ready(task: Task) -> Pipelines:
    """Loads what stays on the client, once for all clients of a process.

    Returns:
        Makes one client's pipelines, by arm, and its connection.
    """
    options = {OPTION: task.option} if task.option else {}
    if task.control:
        options[CONTROL] = CONTROL_OPTION
    # Two copies of a network in one process differ in speed by 0.3 %, for as long as it lives.
    loaded: dict[str, Any] = {}
    placements = {
        arm: Placement(option, task.repository, dict(task.parameters), loaded)
        for arm, option in options.items()
    }

    def make() -> tuple[dict[str, Pipeline], Client | None]:
        client = task.connect()
        made = {arm: placement.pipeline(client) for arm, placement in placements.items()}
        if CONTROL in made and task.option.batch > 1:
            made[CONTROL] = OneByOne(made[CONTROL])
        return made, client

    return make


def work(
    client: int,
    link: Connection,
    pipelines: Pipelines,
    events: Mapping[int, np.ndarray],
    counters: Counters,
) -> None:
    """One client: answers what it is told through the link, until that is closed.

    It is told ``(name, arguments)``: ``warm``, ``turn``, ``open`` or ``call``; it answers
    ``(True, result)`` or ``(False, error)``.
    """
    connection = None
    # If the owner is gone there is nobody to answer.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), link:
        try:
            by_arm, connection = pipelines()
            answer: Any = None
            while True:
                link.send((True, answer))
                name, *arguments = link.recv()
                if name == "warm":
                    answer = _warm(client, *arguments, by_arm, events)
                elif name == "call":
                    answer = send_calls(client, *arguments, connection)
                else:
                    take = take_turn if name == "turn" else take_open_turn
                    answer = take(client, *arguments, by_arm, events, counters)
                    answer.sent = dict(connection.sent) if connection else {}
        except EOFError:
            raise
        except BaseException as error:
            link.send((False, _portable(error)))
        finally:
            if connection:
                connection.close()


def _portable(error: BaseException) -> BaseException:
    """The error, or what it says if it can't be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return ClientError(f"{type(error).__name__}: {error}")
    return error


def _warm(
    client: int,
    first: Sequence[int],
    tag: str,
    pipelines: Mapping[str, Pipeline],
    events: Mapping[int, np.ndarray],
) -> Share:
    """Sends the first events through each arm until it is warm; a failure ends it, as a sample."""
    share = Share()

    def sweep(number: int) -> None:
        for arm, pipeline in pipelines.items():
            for event in first:
                if share.samples:
                    return
                request_id = f"{tag}/{number}/{client}/{arm}/{event}"
                sample = send_until_taken(
                    pipeline, events[event], Sample(arm, event, 0, client, request_id)
                )
                if sample.error:
                    sample.error = f"warm-up of client {client}: {sample.error}"
                    share.samples.append(sample)

    sweep_until_warm(sweep)
    return share


def _work_in_process(
    client: int, link: Connection, task: Task, events: dict[int, np.ndarray], counters: Counters
) -> None:
    # The owner is told to stop, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    devices.settle(task.parameters["threads"])
    pipelines = None

    def make() -> tuple[dict[str, Pipeline], Client | None]:
        nonlocal pipelines
        pipelines = pipelines or make_ready(task)
        return pipelines()

    work(client, link, make, events, counters)


def clients(
    kind: str, count: int, task: Task, events: Mapping[int, np.ndarray]
) -> contextlib.AbstractContextManager[Crew]:
    """Runs clients for as long as the block lasts.

    Args:
        kind: ``threads`` of this process, or ``processes``.
        count: how many.
        task: what they send events to.
        events: space points by event number.
    """
    if kind == "threads":
        return client_threads(make_ready(task), count, events)
    return client_processes(task, count, events)


@contextlib.contextmanager
def client_threads(
    pipelines: Pipelines, count: int, events: Mapping[int, np.ndarray]
) -> Iterator[Crew]:
    """Runs clients that are threads of this process; see ``clients`` and ``make_ready``."""
    counters = Counters()
    pairs = [multiprocessing.Pipe() for _ in range(count)]
    threads = []
    for number, (_, link) in enumerate(pairs):
        arguments = (number, link, pipelines, events, counters)
        # Daemons: if the owner is told to stop, it must not wait for requests under way.
        threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        threads[-1].start()
    crew = Crew([link for link, _ in pairs], counters)
    try:
        yield crew
    finally:
        crew.close()
        for thread in threads:
            thread.join(1)


@contextlib.contextmanager
def client_processes(task: Task, count: int, events: Mapping[int, np.ndarray]) -> Iterator[Crew]:
    """Runs clients that are processes; see ``clients``."""
    counters = Counters()
    PROCESSES.set_forkserver_preload(_PRELOAD)
    links, processes = [], []
    try:
        for number in range(count):
            ours, theirs = multiprocessing.Pipe()
            links.append(ours)
            arguments = (number, theirs, task, dict(events), counters)
            process = PROCESSES.Process(target=_work_in_process, args=arguments, daemon=True)
            with _without_main():
                process.start()
            theirs.close()
            processes.append(process)
        yield Crew(links, counters, processes)
    finally:
        Crew(links, counters).close()
        for process in processes:
            process.terminate()
            process.join()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hides the script that runs, which a new process would otherwise run as well."""
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name, None) for name in ("__file__", "__spec__")}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update({name: value for name, value in hidden.items() if value is not None})


class Crew:
    """Clients that run, as their owner sees them."""

    def __init__(
        self, links: Sequence[Connection], counters: Counters, processes: Sequence[Any] = ()
    ) -> None:
        self.links = links
        self.counters = counters
        self.processes = processes
        self.sent: list[dict[str, int]] = [{} for _ in links]

    def close(self) -> None:
        """Tells all clients to end."""
        self.counters.halt()
        for link in self.links:
            link.close()

    def pids(self, count: int) -> list[int]:
        """The processes of the first ``count`` clients."""
        return [process.pid for process in self.processes[:count]] or [os.getpid()]

    def ready(self, check: Callable[[], None]) -> None:
        """Waits until all clients have started; see ``turn``."""
        self._answers(len(self.links), check)

    def warm(self, first: Sequence[int], tag: str, check: Callable[[], None]) -> list[Sample]:
        """All clients at once send the first events until each is warm; gives failures."""
        shares = self._tell(len(self.links), check, "warm", list(first), tag)
        return [sample for share in shares for sample in share.samples]

    def turn(
        self, count: int, items: Sequence[Item], tag: str, check: Callable[[], None]
    ) -> list[Share]:
        """The first ``count`` clients send the events, see ``load.take_turn``.

        Args:
            count: number of clients.
            items: what to send.
            tag: beginning of the request ids, unique in the server's life.
            check: called a few times a second; raises if it makes no sense to go on.

        Raises:
            ClientError: a client ended.
            Exception: what ``check`` raised, or an error of a client that is no failed request.
        """
        lead = count if count > 1 else 0
        return self._shares(count, check, "turn", list(items), lead, tag)

    def open_turn(self, schedule: Schedule, tag: str, check: Callable[[], None]) -> list[Share]:
        """All clients send events as they are scheduled, see ``open_loop``; otherwise as ``turn``.

        ``check`` may end it with ``counters.halt``.
        """
        return self._shares(len(self.links), check, "open", schedule, tag)

    def _shares(self, count: int, check: Callable[[], None], *message: Any) -> list[Share]:
        self.counters.reset()
        shares = self._tell(count, check, *message)
        for number, share in enumerate(shares):
            self.sent[number] = share.sent
        return shares

    def call(
        self, count: int, calls: Calls, tag: str, check: Callable[[], None]
    ) -> list[np.ndarray]:
        """The first ``count`` clients send requests to one model, see ``calls.send_calls``.

        Returns:
            Per client, the times of its requests.
        """
        return self._tell(count, check, "call", calls, tag)

    def _tell(self, count: int, check: Callable[[], None], *message: Any) -> list[Any]:
        for link in self.links[:count]:
            with contextlib.suppress(BrokenPipeError):  # a client that has ended: see _answer
                link.send(message)
        self.counters.begin(time.monotonic_ns() + LEAD_NS)
        return self._answers(count, check)

    def _answers(self, count: int, check: Callable[[], None]) -> list[Any]:
        answers: dict[Any, Any] = {}
        waiting = list(self.links[:count])
        while waiting:
            # In slices: the kernel may give a signal to a thread of gRPC, which does not wake this
            # one, and Python handles signals here alone.
            for link in wait(waiting, PATIENCE_S):
                answers[link] = self._answer(link)
                waiting.remove(link)
            check()
        return [answers[link] for link in self.links[:count]]

    def _answer(self, link: Connection) -> Any:
        try:
            done, answer = link.recv()
        except (EOFError, ConnectionResetError):
            number = self.links.index(link)
            if not self.processes:
                raise ClientError(f"client {number} ended") from None
            process = self.processes[number]
            process.join(1)
            raise ClientError(
                f"client {number} (process {process.pid}) ended with code {process.exitcode}"
            ) from None
        if not done:
            self.counters.halt()
            raise answer
        return answer
