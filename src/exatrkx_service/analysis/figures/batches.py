"""Figure of `snakemake study_batch`: requests that hold several events."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.cells import clients
from exatrkx_service.analysis.figures.style import (
    count_axis,
    empty_figure,
    error_bars,
    from_zero,
    legend_below,
    option_lines,
    own_style,
)
from exatrkx_service.analysis.summary import COST


@own_style
def study_batch(batches: pd.DataFrame, *, confidence_level: float = 0.95) -> Figure:
    """What each event costs, how long it waits, and events per second, against events in a request.

    Args:
        batches: see ``batches.per_event``.
        confidence_level: of the intervals in the table.
    """
    title = "Several events in one request"
    known = batches.dropna(subset="mean_ms")
    if known.empty:
        return empty_figure(title, "No option has valid samples.")
    loads = sorted(known.concurrency.unique())
    figure = Figure(figsize=(11, 1.2 + 3.3 * len(loads)), layout="constrained")
    grid = figure.subplots(len(loads), 3, squeeze=False)
    interval = f"{confidence_level:.0%} interval"
    for row, concurrency in zip(grid, loads, strict=True):
        own = known[known.concurrency == concurrency]
        cost, latency, rate = row
        _lines(cost, own, known.option, "cost_ms", error_bars(own, *COST))
        cost.axhline(0, color="black", lw=1.0, zorder=1)
        cost.set_ylabel(f"cost per event [ms], {interval}")
        cost.set_title(f"{clients(concurrency)}: cost of an event")
        _lines(latency, own, known.option, "mean_ms", error_bars(own))
        latency.set_ylabel(f"time of a request [ms], {interval}")
        latency.set_title("how long each of its events waits")
        _lines(rate, own, known.option, "throughput_evt_s", np.zeros((2, len(own))))
        rate.set_ylabel("throughput [events/s]")
        rate.set_title("events per second")
        for axes in (latency, rate):
            from_zero(axes)
    legend_below(figure, grid.flat)
    figure.suptitle(
        f"{title} (cost: less S0 on the same events one by one, in the same seconds)",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    return figure


def _lines(
    axes: Axes, table: pd.DataFrame, options: pd.Series, column: str, bars: np.ndarray
) -> None:
    """One line per option against the events in a request."""
    option_lines(axes, table, options, table.batch, table[column], np.nan_to_num(bars))
    count_axis(axes, table.batch, "events in a request")
