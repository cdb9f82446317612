"""The closed loop: clients that each send their next event as soon as the last one is done."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import RequestTimeout
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Lap, Stopwatch

OPTION, CONTROL = "option", "control"  # the arms of a cell: what is measured, and S0 beside it


class Item(NamedTuple):
    """One event to be sent: by which arm, and in which pass over the events, from 0."""

    arm: str
    event: int
    repetition: int


@dataclass
class Sample:
    """One event as one client saw it.

    Attributes:
        arm: ``option`` or ``control``.
        event: its number.
        repetition: the pass over the events, from 0; negative if it was sent to keep the clients
            busy and is recorded because it failed.
        client: from 0.
        request_id: prefix of the ids of its requests to the server.
        start_ns, duration_ns: of the whole event, monotonic clock.
        cpu_ns: CPU time that the client's process spent meanwhile, on whatever.
        laps: its parts, as the client timed them; empty if it failed.
        labels_sha256: of the labels; empty if it failed.
        error: why it failed; empty if it did not.
        timed_out: whether it failed because the client gave up; the server may work on.
    """

    arm: str
    event: int
    repetition: int
    client: int
    request_id: str
    start_ns: int = 0
    duration_ns: int = 0
    cpu_ns: int = 0
    laps: list[Lap] = field(default_factory=list)
    labels_sha256: str = ""
    error: str = ""
    timed_out: bool = False

    @property
    def end_ns(self) -> int:
        """When it was done, monotonic clock."""
        return self.start_ns + self.duration_ns


def hash_labels(labels: np.ndarray) -> str:
    """SHA-256 of int64 (N,) labels: equal for equal tracks, for labels are canonical."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").tobytes()).hexdigest()


def send(pipeline: Pipeline, space_points: np.ndarray, sample: Sample) -> np.ndarray | None:
    """Runs one event and fills in its sample; a request that fails is recorded, not raised.

    Returns:
        The labels, which are not hashed yet: that is no part of an event's time; None if it failed.
    """
    cpu_ns = time.process_time_ns()
    watch = Stopwatch()
    sample.start_ns = watch.start_ns
    labels = None
    try:
        labels = pipeline(space_points, watch, sample.request_id)["labels"]
        # A reading of its own, so that the parts need not add up to it.
        end_ns = time.monotonic_ns()
    except InferenceServerException as error:
        end_ns = time.monotonic_ns()
        sample.error = error.message() or str(error) or type(error).__name__
        sample.timed_out = isinstance(error, RequestTimeout)
    else:
        sample.laps = watch.laps
    sample.duration_ns = end_ns - sample.start_ns
    sample.cpu_ns = time.process_time_ns() - cpu_ns
    return labels


# The context that clients which are processes are started in.
PROCESSES = multiprocessing.get_context("forkserver")


class Counters:
    """What the clients of a turn share, be they threads or processes."""

    def __init__(self) -> None:
        self._taken, self._finished, self._halted = (PROCESSES.Value("q", 0) for _ in range(3))

    def take(self) -> int:
        """The number of the next event, from 0; each is given once."""
        with self._taken.get_lock():
            self._taken.value += 1
            return self._taken.value - 1

    def finish(self) -> None:
        """One of the events that count is done."""
        with self._finished.get_lock():
            self._finished.value += 1

    def finished(self) -> int:
        """How many of them are."""
        return self._finished.value

    def halt(self) -> None:
        """No client is to send another event."""
        self._halted.value = 1

    def halted(self) -> bool:
        """Whether that was said."""
        return bool(self._halted.value)

    def reset(self) -> None:
        """Makes ready for the next turn."""
        self._taken.value = self._finished.value = self._halted.value = 0


@dataclass
class Share:
    """What one client did in a turn.

    Attributes:
        samples: its events that count, failed ones included; and others that failed.
        fillers: when each of its other events was done [ns], monotonic clock.
        sent: requests that the server took from it since it began, by model.
    """

    samples: list[Sample] = field(default_factory=list)
    fillers: list[int] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)


def take_turn(
    client: int,
    items: Sequence[Item],
    tag: str,
    pipelines: Mapping[str, Pipeline],
    events: Mapping[int, np.ndarray],
    counters: Counters,
) -> Share:
    """One client's part of a turn: sends what it gets from the counters until all is done.

    A closed loop has as many events under way as it has clients. So a client that gets none of the
    events that count goes on with fillers, the same events once more, until the last one that
    counts is done: otherwise the last ones would be measured on a machine with less to do. With
    one client there are none. A request that timed out ends the turn, for the server works on.

    Args:
        client: its number.
        items: the events that count.
        tag: beginning of the request ids, unique in the server's life.
        pipelines: by arm.
        events: space points by event number.
        counters: shared with the other clients.
    """
    share = Share()
    found: list[np.ndarray | None] = []
    while not counters.halted():
        number = counters.take()
        filler = number >= len(items)
        if filler and counters.finished() >= len(items):
            break
        arm, event, repetition = items[number % len(items)]
        request_id = f"{tag}/{arm}/{event}/{'f' if filler else ''}{number}"
        sample = Sample(arm, event, -number if filler else repetition, client, request_id)
        labels = send(pipelines[arm], events[event], sample)
        if not filler:
            counters.finish()
        if filler and not sample.error:
            share.fillers.append(sample.end_ns)
        else:
            share.samples.append(sample)
            found.append(labels)
        if sample.timed_out:
            counters.halt()
    for sample, labels in zip(share.samples, found, strict=True):
        if labels is not None:
            sample.labels_sha256 = hash_labels(labels)
    return share


def result(shares: Sequence[Share]) -> dict[str, Any]:
    """What came of a turn: ``samples``, and ``n_finished`` and ``window_s`` for the rate.

    The window runs from the first start to the end of the last event that counts; whatever was
    finished in it counts for the rate, fillers too.
    """
    samples = sorted((s for share in shares for s in share.samples), key=lambda s: s.start_ns)
    counted = [sample for sample in samples if sample.repetition >= 0]
    if not counted:
        return {"samples": samples, "n_finished": 0, "window_s": 0.0}
    begin = min(sample.start_ns for sample in counted)
    end = max(sample.end_ns for sample in counted)
    fillers = sum(done <= end for share in shares for done in share.fillers)
    return {
        "samples": samples,
        "n_finished": fillers + sum(not sample.error for sample in counted),
        "window_s": (end - begin) / 1e9,
    }
