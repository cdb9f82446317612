"""The closed loop: clients that each send their next event as soon as the last one is done."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tenacity
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.limits import Rejected
from exatrkx_service.client.remote import RequestTimeout
from exatrkx_service.events.event import EventBatch, PointsWithColumns
from exatrkx_service.pipeline.event_labels import part_labels
from exatrkx_service.pipeline.labeling import canonical
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Lap, Stopwatch

PATIENCE_S = 60  # with a server that turns requests away, before the measurement begins
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
        scheduled_ns: when it was to be sent, monotonic clock; 0 in a closed loop, where it is sent
            whenever its client is free.
        start_ns, duration_ns: of the whole event, monotonic clock.
        cpu_ns: CPU time that the client's process spent meanwhile, on whatever.
        laps: its parts, as the client timed them; empty if it failed.
        labels_sha256: of the labels; empty if it failed.
        error: why it failed; empty if it did not.
        timed_out: whether it failed because the client gave up; the server may work on.
        rejected: whether it has no answer because the server turned it away, see ``client.limits``.
    """

    arm: str
    event: int
    repetition: int
    client: int
    request_id: str
    scheduled_ns: int = 0
    start_ns: int = 0
    duration_ns: int = 0
    cpu_ns: int = 0
    laps: list[Lap] = field(default_factory=list)
    labels_sha256: str = ""
    error: str = ""
    timed_out: bool = False
    rejected: bool = False

    @property
    def status(self) -> str:
        """``ok``, ``rejected`` or ``failed``."""
        return ("rejected" if self.rejected else "failed") if self.error else "ok"

    @property
    def end_ns(self) -> int:
        """When it was done, monotonic clock."""
        return self.start_ns + self.duration_ns

    @property
    def latency_ns(self) -> int:
        """In an open loop: from the time it was scheduled for, so that no wait is left out [ns]."""
        return self.end_ns - self.scheduled_ns


def hash_labels(labels: np.ndarray, event_sizes: np.ndarray | None = None) -> str:
    """SHA-256 of labels: equal for equal tracks, whatever numbers they have.

    Args:
        labels: int64 (N,).
        event_sizes: int64 (B,) if they are of several events, one after the other, with so many
            points each: then it is ``hash_of_events`` of each one's own.
    """
    labels = canonical(labels)
    if event_sizes is None:
        return _sha256(labels)
    return hash_of_events(_sha256(own) for own in part_labels(labels, event_sizes))


def _sha256(labels: np.ndarray) -> str:
    return hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()


def hash_of_events(hashes: Iterable[str]) -> str:
    """SHA-256 of the labels of several events, from those of each."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def hash_answer(points: np.ndarray | PointsWithColumns | EventBatch, labels: np.ndarray) -> str:
    """SHA-256 of the labels of what was sent, see ``hash_labels``."""
    return hash_labels(labels, points.event_sizes if isinstance(points, EventBatch) else None)


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
        sample.rejected = isinstance(error, Rejected)
    else:
        sample.laps = watch.laps
    sample.duration_ns = end_ns - sample.start_ns
    sample.cpu_ns = time.process_time_ns() - cpu_ns
    return labels


def send_until_taken(pipeline: Pipeline, space_points: np.ndarray, sample: Sample) -> Sample:
    """As ``send``, again and again while the server turns the event away, for ``PATIENCE_S``.

    For warming up alone: what is timed is sent once.

    Returns:
        The sample of the last try.
    """

    def once() -> Sample:
        tried = replace(sample, laps=[])
        send(pipeline, space_points, tried)
        return tried

    return again_while(tenacity.retry_if_result(lambda tried: tried.rejected))(once)


def again_while(turned_away: tenacity.retry_base) -> tenacity.Retrying:
    """Calls a function again and again while the server turns it away, for ``PATIENCE_S``."""
    return tenacity.Retrying(
        retry=turned_away,
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=1),
        stop=tenacity.stop_after_delay(PATIENCE_S),
        retry_error_callback=lambda state: state.outcome.result(),
    )


# The context that clients which are processes are started in.
PROCESSES = multiprocessing.get_context("forkserver")


class Counters:
    """What the clients of a turn share, be they threads or processes."""

    def __init__(self) -> None:
        new = partial(PROCESSES.Value, "q", 0)
        self._taken, self._finished, self._over, self._began, self._halted = (
            new() for _ in range(5)
        )

    def take(self) -> int:
        """The number of the next event, from 0; each is given once."""
        with self._taken.get_lock():
            self._taken.value += 1
            return self._taken.value - 1

    def finish(self, over: bool = False) -> None:
        """One of the events that count is done; it may have taken longer than a limit."""
        if over:
            with self._over.get_lock():
                self._over.value += 1
        with self._finished.get_lock():
            self._finished.value += 1

    def finished(self) -> int:
        """How many of them are."""
        return self._finished.value

    def over(self) -> int:
        """How many of those took longer than the limit."""
        return self._over.value

    def begin(self, at_ns: int) -> None:
        """The schedule of an open loop begins then, on the monotonic clock."""
        self._began.value = at_ns

    def began_ns(self) -> int:
        """When it begins; 0 as long as that was not said."""
        return self._began.value

    def halt(self, after_ns: int = 0) -> None:
        """No client is to send another event; in an open loop, none scheduled after that time."""
        self._halted.value = max(1, after_ns)

    def halted(self, scheduled_ns: int | None = None) -> bool:
        """Whether that was said, of an event that is scheduled for that time."""
        if scheduled_ns is None:
            return bool(self._halted.value)
        return 0 < self._halted.value < scheduled_ns

    def reset(self) -> None:
        """Makes ready for the next turn."""
        for value in (self._taken, self._finished, self._over, self._began, self._halted):
            value.value = 0


@dataclass
class Share:
    """What one client did in a turn.

    Attributes:
        samples: its events that count, failed ones included; and others that failed.
        fillers: start and end of each of its other events [ns], monotonic clock.
        sent: requests that the server took from it since it began, by model.
    """

    samples: list[Sample] = field(default_factory=list)
    fillers: list[tuple[int, int]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)


def take_turn(
    client: int,
    items: Sequence[Item],
    lead: int,
    tag: str,
    pipelines: Mapping[str, Pipeline],
    events: Mapping[int, np.ndarray],
    counters: Counters,
) -> Share:
    """One client's part of a turn: sends what it gets from the counters until all is done.

    A closed loop has as many events under way as it has clients. So fillers, the same events once
    more, go before those that count: the first ones would find a server with nothing to do, and a
    queue that is not there yet is a cost that is not seen. And a client that gets none of the
    events that count goes on with fillers until the last one of them is done. With one client there
    are none. A request that timed out ends the turn, for the server works on; so does one that it
    turned away, for it wants no more of them.

    Args:
        client: its number.
        items: the events that count.
        lead: number of fillers before them, of all clients together.
        tag: beginning of the request ids, unique in the server's life.
        pipelines: by arm.
        events: space points by event number.
        counters: shared with the other clients.
    """
    share = Share()
    found: list[np.ndarray | None] = []
    while not counters.halted():
        number = counters.take() - lead
        filler = not 0 <= number < len(items)
        if filler and counters.finished() >= len(items):
            break
        arm, event, repetition = items[number % len(items)]
        request_id = f"{tag}/{arm}/{event}/{'f' if filler else ''}{number + lead}"
        recorded = -number - lead - 1 if filler else repetition
        sample = Sample(arm, event, recorded, client, request_id)
        labels = send(pipelines[arm], events[event], sample)
        if not filler:
            counters.finish()
        if filler and not sample.error:
            share.fillers.append((sample.start_ns, sample.end_ns))
        else:
            share.samples.append(sample)
            found.append(labels)
        if sample.timed_out or sample.rejected:
            counters.halt()
        elif sample.error and number >= len(items):
            break  # it is not wanted to fail again and again while others are waited for
    for sample, labels in zip(share.samples, found, strict=True):
        if labels is not None:
            sample.labels_sha256 = hash_answer(events[sample.event], labels)
    return share


def result(shares: Sequence[Share]) -> dict[str, Any]:
    """What came of a turn.

    Returns:
        ``samples``; ``n_done``, the number of all events that were done, fillers too; ``window_s``,
        from the first start to the last end of an event that counts; and ``n_in_window``, how many
        were done in that window: those that were under way at either end of it, by the share of
        their time that lies in it.
    """
    samples = sorted((s for share in shares for s in share.samples), key=lambda s: s.start_ns)
    counted = [sample for sample in samples if sample.repetition >= 0]
    done = [times for share in shares for times in share.fillers]
    done += [(sample.start_ns, sample.end_ns) for sample in counted if not sample.error]
    begin = min((sample.start_ns for sample in counted), default=0)
    end = max((sample.end_ns for sample in counted), default=0)
    within = [
        max(0, min(last, end) - max(first, begin)) / max(last - first, 1) for first, last in done
    ]
    return {
        "samples": samples,
        "n_done": len(done),
        "n_in_window": sum(within),
        "window_s": (end - begin) / 1e9,
    }
