"""The load driver: N clients, each sending its next event as soon as the last one is done."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Lap, Stopwatch


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
    else:
        sample.laps = watch.laps
    sample.duration_ns = watch.now_ns - watch.start_ns
    if not sample.error:
        sample.labels_sha256 = hash_labels(tensors["labels"])


def run_load(
    make_pipeline: Callable[[], tuple[Pipeline, Callable[[], None]]],
    events: Mapping[int, np.ndarray],
    *,
    first: np.ndarray,
    concurrency: int,
    repetitions: int,
    seed: int,
    tag: str,
    check: Callable[[], None],
) -> list[Sample]:
    """Sends every event ``repetitions`` times from ``concurrency`` clients.

    A closed loop: a client sends its next event when the last one is done, so ``concurrency``
    events are under way at any time but the very end. The order is random, from ``seed``. Before
    the clock starts each client sends one event that is not recorded, for the first request of a
    connection opens it.

    Args:
        make_pipeline: gives one client's pipeline and the function that closes it. Called in the
            client's thread, before the clock starts.
        events: space points by event number.
        first: space points of the event that each client sends before the clock starts.
        concurrency: number of clients.
        repetitions: how often each event is sent.
        seed: of the order.
        tag: beginning of the request ids, unique in the server's life.
        check: called after each failure; raises if it makes no sense to go on.

    Returns:
        One sample per event and repetition, those that failed included.

    Raises:
        Exception: what ``check`` raised, or the first error of a client that is no failed request
            of a recorded event.
    """
    order = [(event, repetition) for repetition in range(repetitions) for event in events]
    np.random.default_rng(seed).shuffle(order)
    todo: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    for item in order:
        todo.put((int(item[0]), int(item[1])))
    samples: list[Sample] = []
    errors: list[BaseException] = []
    start = threading.Barrier(concurrency)

    def work(client: int) -> None:
        close: Callable[[], None] | None = None
        try:
            pipeline, close = make_pipeline()
            pipeline(first, request_id=f"{tag}/first/{client}")
            start.wait()
            while not errors:
                event, repetition = todo.get_nowait()
                sample = Sample(event, repetition, client, f"{tag}/{event}/{repetition}")
                send(pipeline, events[event], sample)
                samples.append(sample)
                if sample.error:
                    check()
        except queue.Empty:
            pass
        except threading.BrokenBarrierError:
            pass  # another client failed to start, and its error is the one to tell
        except BaseException as error:
            errors.append(error)
            start.abort()
        finally:
            if close is not None:
                close()

    # Daemons: if the owner is told to stop, it must not wait for requests under way.
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        # In slices: the kernel may give a signal to a thread of gRPC, which does not wake this one,
        # and Python handles signals here alone.
        while thread.is_alive():
            thread.join(0.5)
    if errors:
        raise errors[0]
    return samples


def pick_warmup(events: Mapping[int, np.ndarray], count: int) -> dict[int, np.ndarray]:
    """Picks ``count`` events that span the sizes: TorchScript re-optimises on new shapes."""
    by_size = sorted(events, key=lambda event: len(events[event]))
    chosen: Any = np.unique(np.linspace(0, len(by_size) - 1, min(count, len(by_size))).astype(int))
    return {by_size[i]: events[by_size[i]] for i in chosen}
