"""The load driver: N clients, each sending its next event as soon as the last one is done."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import RequestTimeout
from exatrkx_service.measure.warmup import in_threads, sweep_until_warm
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Lap, Stopwatch

MakePipeline = Callable[[], tuple[Pipeline, Callable[[], None]]]
# Of each client, that end a load: failures, and those among them for which it waited in vain.
FAILURES_IN_A_ROW, TIMEOUTS_IN_A_ROW = 10, 3


@dataclass
class Sample:
    """One event as one client saw it.

    Attributes:
        event: its number; ``repetition`` and ``client`` count from 0.
        request_id: prefix of the ids of its requests to the server.
        start_ns, duration_ns: of the whole event, monotonic clock.
        laps: its parts, as the client timed them; empty if it failed.
        labels_sha256: of the labels; empty if it failed.
        error: why it failed; empty if it did not.
        timed_out: whether it failed because the client gave up; the server may work on.
    """

    event: int
    repetition: int
    client: int
    request_id: str
    start_ns: int = 0
    duration_ns: int = 0
    laps: list[Lap] = field(default_factory=list)
    labels_sha256: str = ""
    error: str = ""
    timed_out: bool = False


def hash_labels(labels: np.ndarray) -> str:
    """SHA-256 of int64 (N,) labels: equal for equal tracks, for labels are canonical."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").tobytes()).hexdigest()


def send(pipeline: Pipeline, space_points: np.ndarray, sample: Sample) -> None:
    """Runs one event and fills in its sample; a request that fails is recorded, not raised."""
    watch = Stopwatch()
    sample.start_ns = watch.start_ns
    try:
        tensors = pipeline(space_points, watch, sample.request_id)
    except InferenceServerException as error:
        watch.lap("event", "failed")
        sample.error = error.message() or str(error) or type(error).__name__
        sample.timed_out = isinstance(error, RequestTimeout)
    else:
        sample.laps = watch.laps
    sample.duration_ns = watch.now_ns - watch.start_ns
    if not sample.error:
        sample.labels_sha256 = hash_labels(tensors["labels"])


@dataclass
class Load:
    """What came of one load.

    Attributes:
        samples: one per event that was sent, those that failed included.
        ended_early: why not all events were sent; empty if all were.
        sweeps: the most warm-up sweeps that a client needed.
    """

    samples: list[Sample] = field(default_factory=list)
    ended_early: str = ""
    sweeps: int = 0


class _WarmupFailed(Exception):
    """A request of a client's warm-up failed; its sample says why."""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample.error)
        self.sample = sample


class _Clients:
    """The clients of one load; see ``run_load``."""

    def __init__(self, make_pipeline: MakePipeline, concurrency: int, begin: Callable[[], None]):
        self.make_pipeline = make_pipeline
        self.start = threading.Barrier(concurrency, action=begin)
        self.todo: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self.load = Load()
        self.concurrency = concurrency
        self.failures = self.timeouts = 0  # in a row
        self.over = threading.Event()
        self.go = threading.Event()  # cleared while the server works on what was given up
        self.go.set()

    def work(
        self,
        client: int,
        events: Mapping[int, np.ndarray],
        first: Mapping[int, np.ndarray],
        tag: str,
    ) -> None:
        """One client, from its connection to the end of the load."""
        close: Callable[[], None] | None = None
        try:
            pipeline, close = self.make_pipeline()
            sweeps = sweep_until_warm(lambda n: self._warm(pipeline, client, first, f"{tag}/{n}"))
            self.load.sweeps = max(self.load.sweeps, sweeps)
            self.start.wait()
            while self.go.wait() and not self.over.is_set():
                event, repetition = self.todo.get_nowait()
                sample = Sample(event, repetition, client, f"{tag}/{event}/{repetition}")
                send(pipeline, events[event], sample)
                self._book(sample)
        except queue.Empty:
            pass
        except threading.BrokenBarrierError:
            pass  # another client failed to start, and its error is the one to tell
        except BaseException:
            self.over.set()
            self.start.abort()
            raise
        finally:
            if close is not None:
                close()

    def _warm(
        self, pipeline: Pipeline, client: int, first: Mapping[int, np.ndarray], tag: str
    ) -> None:
        for event, space_points in first.items():
            if self.over.is_set():
                raise threading.BrokenBarrierError
            sample = Sample(event, 0, client, f"{tag}/first/{client}/{event}")
            send(pipeline, space_points, sample)
            if sample.error:
                sample.error = f"warm-up of client {client}: {sample.error}"
                raise _WarmupFailed(sample)

    def _book(self, sample: Sample) -> None:
        self.load.samples.append(sample)
        self.failures = self.failures + 1 if sample.error else 0
        self.timeouts = self.timeouts + 1 if sample.timed_out else 0
        if sample.timed_out:
            self.go.clear()
        too_many = (
            self.failures >= FAILURES_IN_A_ROW * self.concurrency
            or self.timeouts >= TIMEOUTS_IN_A_ROW * self.concurrency
        )
        if too_many and not self.over.is_set():
            self.load.ended_early = (
                f"{self.failures} requests failed in a row, the last: {sample.error}"
            )
            self.over.set()


def run_load(
    make_pipeline: MakePipeline,
    events: Mapping[int, np.ndarray],
    *,
    first: Mapping[int, np.ndarray],
    concurrency: int,
    repetitions: int,
    seed: int,
    tag: str,
    check: Callable[[], None] = lambda: None,
    drain: Callable[[], None] = lambda: None,
    begin: Callable[[], None] = lambda: None,
) -> Load:
    """Sends every event ``repetitions`` times from ``concurrency`` clients.

    A closed loop: a client sends its next event when the last one is done, so ``concurrency``
    events are under way at any time but the very end. The order is random, from ``seed``. Before
    the clock starts each client sends some events until it is warm; they are not recorded, unless
    one fails: then the load consists of that failure. After a request that timed out no client
    goes on before the server is done with it. Many failures in a row end the load, see
    ``FAILURES_IN_A_ROW``.

    Args:
        make_pipeline: gives one client's pipeline and the function that closes it. Called in the
            client's thread, before the clock starts.
        events: space points by event number.
        first: those that each client sends before the clock starts.
        concurrency: number of clients.
        repetitions: how often each event is sent.
        seed: of the order.
        tag: beginning of the request ids, unique in the server's life.
        check: called a few times a second; raises if it makes no sense to go on.
        drain: called after a request has timed out; returns when the server has done it as well.
        begin: called once, when all clients are warm.

    Raises:
        Exception: what ``check`` or ``drain`` raised, or the first error of a client that is no
            failed request.
    """
    order = [(event, repetition) for repetition in range(repetitions) for event in events]
    np.random.default_rng(seed).shuffle(order)
    clients = _Clients(make_pipeline, concurrency, begin)
    for item in order:
        clients.todo.put((int(item[0]), int(item[1])))

    def watch() -> None:
        check()
        if not clients.go.is_set():
            drain()
            clients.go.set()

    try:
        in_threads(lambda client: clients.work(client, events, first, tag), concurrency, watch)
    except _WarmupFailed as failure:
        clients.load = Load([failure.sample], ended_early=failure.sample.error)
    finally:
        clients.over.set()
        clients.go.set()
    if any(sample.timed_out for sample in clients.load.samples):
        drain()  # of the last ones
    return clients.load
