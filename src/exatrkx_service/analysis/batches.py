"""Requests that hold several events: what they must give, and what they cost each event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from exatrkx_service.analysis.summary import COST, SLOWDOWN
from exatrkx_service.measure.batches import reference_of_batches
from exatrkx_service.options import option_of_batches

_OF_EVENT = (*COST, "control_ms", "client_cpu_ms", "server_cpu_ms")
BATCH_COLUMNS = [
    *("option", "batch", "concurrency", "mean_ms", "ci95_low_ms", "ci95_high_ms", "p95_ms"),
    *("throughput_evt_s", *COST, "control_ms", *SLOWDOWN),
    *("client_cpu_ms", "server_cpu_ms", "verdict", "reason"),
]


def with_batches(reference: pd.DataFrame, options: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The reference, and rows of it for the batches that the options send.

    Args:
        reference: see ``timings.REFERENCE_COLUMNS``.
        options: entries of the configuration, see ``options.batches``.
    """
    sizes = {option.get("batch", 1) for option in options.values()} - {1}
    more = [reference_of_batches(reference, size) for size in sorted(sizes)]
    return pd.concat([reference, *more], ignore_index=True)


def per_event(summary: pd.DataFrame, options: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What each option costs an event, by the number of events in a request.

    Args:
        summary: see ``summary.summarise``, in which a request counts as an event.
        options: entries of the configuration by their names, see ``options.batches``.

    Returns:
        Columns ``BATCH_COLUMNS``: mean and quantile of a request's time, which is what each of its
        events waits; of an event: the cost, the control's time, CPU time [ms], events per second.
    """
    table = summary.assign(
        batch=[options[name]["batch"] for name in summary.option],
        option=[option_of_batches(name) for name in summary.option],
    )
    for column in _OF_EVENT:
        table[column] /= table.batch
    table["throughput_evt_s"] *= table.batch
    return table.sort_values(["option", "batch", "concurrency"], ignore_index=True)[BATCH_COLUMNS]
