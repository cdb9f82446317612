"""Several events in one request: which go together, and what they must give.

A batch takes the place of an event: it is sent, timed and judged as one. Its number is negative,
and says how many events it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.events.event import EventBatch
from exatrkx_service.measure.load import hash_of_events
from exatrkx_service.pipeline.event_labels import join_labels
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Stopwatch

_SPAN = 1_000_000  # the largest number of batches of one size; more than there are events


def members(sizes: Mapping[int, int], batch: int) -> dict[int, list[int]]:
    """The events of each batch, by its number.

    Each batch has as many events, and small and large ones alike: the events in the order of their
    sizes are dealt out one by one. Where they don't come out even, small ones are in two batches.

    Args:
        sizes: number of space points by event number.
        batch: events in a batch.
    """
    by_size = sorted(sizes, key=lambda event: (sizes[event], event))
    count = -(-len(by_size) // batch)
    return {
        -batch * _SPAN - number: [
            by_size[(number + place * count) % len(by_size)] for place in range(batch)
        ]
        for number in range(count)
    }


def batched(events: Mapping[int, np.ndarray], batch: int) -> dict[int, EventBatch]:
    """The batches of a sample by their numbers.

    Args:
        events: space points by event number.
        batch: see ``members``.
    """
    sizes = {event: len(points) for event, points in events.items()}
    return {
        number: EventBatch.of([events[event] for event in inside])
        for number, inside in members(sizes, batch).items()
    }


def reference_of_batches(reference: pd.DataFrame, batch: int) -> pd.DataFrame:
    """What the batches of a sample must give: a row per batch, with the columns of the reference.

    Args:
        reference: a row per event, see ``reference.run_reference``.
        batch: see ``members``.
    """
    by_event = reference.set_index("event")
    sizes = {int(event): int(size) for event, size in by_event.n_space_points.items()}
    rows = []
    for number, inside in members(sizes, batch).items():
        own = by_event.loc[inside]
        sums = own.drop(columns="labels_sha256").sum()
        rows.append({"event": number, **sums, "labels_sha256": hash_of_events(own.labels_sha256)})
    return pd.DataFrame(rows)[list(reference.columns)].astype(reference.dtypes)


class OneByOne:
    """Finds the tracks of a batch event by event, as the control of an option with batches does.

    Args:
        pipeline: of one event.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __call__(
        self, batch: EventBatch, watch: Stopwatch | None = None, request_id: str = ""
    ) -> dict[str, Any]:
        """The labels of all events, as ``Pipeline`` gives them of a batch."""
        found = [self.pipeline(event, watch, request_id)["labels"] for event in batch.events()]
        return {"labels": join_labels(found)}
