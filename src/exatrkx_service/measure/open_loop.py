"""The open loop: requests are sent when they are due, whether or not earlier ones are done.

In a closed loop a client that waits for a slow answer sends nothing meanwhile, so a server that
stands still is asked less just then, and its stall is one slow request among many (the coordinated
omission: G. Tene, How not to measure latency). Users do not wait for each other. So here a schedule
says when each request is due, and its latency counts from then: if all clients are busy, the time
until one is free is a part of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exatrkx_service.measure.load import Counters, Item, Sample, Share, hash_labels, send
from exatrkx_service.pipeline.pipeline import Pipeline

SLICE_NS = 100_000_000  # a client that waits looks so often whether it still has to
SPIN_NS = 200_000  # the last bit it does not sleep: a sleep ends late by about this


@dataclass(frozen=True)
class Schedule:
    """What is to be sent, and when.

    Attributes:
        items: the events.
        offsets_ns: int64 (len(items),), ascending: when each is due, after the beginning [ns].
        limit_ns: latencies that are longer are counted.
    """

    items: Sequence[Item]
    offsets_ns: np.ndarray
    limit_ns: int


def take_open_turn(
    client: int,
    schedule: Schedule,
    tag: str,
    pipelines: Mapping[str, Pipeline],
    events: Mapping[int, np.ndarray],
    counters: Counters,
) -> Share:
    """One client's part of an open loop: it takes the next request and sends it when it is due.

    It ends with the schedule, or when it is halted: then all requests that were due before are
    still sent, for those that had to wait are the slow ones. A request that fails ends it at once;
    one that the server turned away is over the limit.

    Args:
        client: its number.
        schedule: of all clients together.
        tag: beginning of the request ids, unique in the server's life.
        pipelines: by arm.
        events: space points by event number.
        counters: shared with the other clients; they also say when the schedule begins.
    """
    share = Share()
    while not counters.began_ns() and not counters.halted():
        time.sleep(0.001)
    for number in iter(counters.take, None):
        if number >= len(schedule.items):
            break
        due_ns = counters.began_ns() + int(schedule.offsets_ns[number])
        if not _wait_until(due_ns, counters):
            break
        arm, event, repetition = schedule.items[number]
        request_id = f"{tag}/{arm}/{event}/{number}"
        sample = Sample(arm, event, repetition, client, request_id, scheduled_ns=due_ns)
        labels = send(pipelines[arm], events[event], sample)
        counters.finish(over=sample.rejected or sample.latency_ns > schedule.limit_ns)
        sample.laps = []
        if labels is not None:
            sample.labels_sha256 = hash_labels(labels)
        share.samples.append(sample)
        if sample.error and not sample.rejected:
            counters.halt()
    return share


def _wait_until(due_ns: int, counters: Counters) -> bool:
    """Returns at that time, monotonic clock; False as soon as it is no longer to be waited for."""
    while (left_ns := due_ns - time.monotonic_ns()) > 0:
        if counters.halted(due_ns):
            return False
        if left_ns > SPIN_NS:
            time.sleep(min(left_ns - SPIN_NS, SLICE_NS) / 1e9)
    return not counters.halted(due_ns)
