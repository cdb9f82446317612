"""Figures of latency and throughput against concurrency, and of latency against event size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.cells import clients
from exatrkx_service.analysis.figures.style import (
    baseline_concurrency,
    count_axis,
    empty_figure,
    error_bars,
    from_zero,
    option_lines,
    option_styles,
    own_style,
)
from exatrkx_service.analysis.summary import event_means, quantiles
from exatrkx_service.analysis.timings import CELL, NS_PER_MS, OPTION, total_rows
from exatrkx_service.measure.estimate import half_width, plain_mean

_QUANTILE_MARKERS = {50: "o", 95: "D", 99: "s"}
SIZE_BINS = 6  # bins of equal numbers of events in the trend against space points


@own_style
def latency_vs_concurrency(summary: pd.DataFrame, *, confidence_level: float = 0.95) -> Figure:
    """Mean time of an event against the number of clients, and what the option costs.

    Args:
        summary: see ``summary.summarise``.
        confidence_level: of the intervals in the table.
    """
    title = "Time per event against concurrency"
    valid = summary.dropna(subset="mean_ms")
    if valid.empty:
        return empty_figure(title, "No option has valid samples.")
    figure = Figure(figsize=(10.5, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    times = error_bars(valid)
    _against_clients(left, valid, summary.option, valid.mean_ms, times)
    from_zero(left)
    left.set_ylabel(f"mean time per event [ms], {confidence_level:.0%} interval")
    left.set_title(title)
    costs = error_bars(valid, "cost_ms", "cost_low_ms", "cost_high_ms")
    _against_clients(right, valid, summary.option, valid.cost_ms, costs)
    right.axhline(0, color="black", lw=1.0, zorder=1)
    right.set_ylabel(f"mean cost per event [ms], {confidence_level:.0%} interval")
    right.set_title("Cost: less S0 in the same seconds")
    left.legend(title="service option", ncols=2)
    return figure


@own_style
def throughput_vs_concurrency(
    summary: pd.DataFrame, blocks: pd.DataFrame, *, confidence_level: float = 0.95
) -> Figure:
    """Events per second against the number of clients, one line per option.

    Args:
        summary: see ``summary.summarise``; the points are its throughput.
        blocks: those that count, see ``timings.kept_blocks``.
        confidence_level: of the interval, that of a ratio of sums over blocks (W. G. Cochran,
            Sampling Techniques, 1977, chapter 6).
    """
    title = "Throughput against concurrency"
    valid = summary.dropna(subset="throughput_evt_s")
    if valid.empty:
        return empty_figure(title, "No option has valid samples.")
    options = blocks[(blocks.arm == OPTION) & (blocks.window_s > 0)]
    own = dict(iter(options.groupby(CELL)))
    width = []
    for row in valid.itertuples():
        rows = own[row.option, row.concurrency]
        residuals = rows.n_in_window - row.throughput_evt_s * rows.window_s
        width.append(half_width(plain_mean(residuals / rows.window_s.mean(), confidence_level)))
    bars = np.nan_to_num(np.array([width, width]))
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    _against_clients(axes, valid, summary.option, valid.throughput_evt_s, bars)
    from_zero(axes)
    axes.set_ylabel(f"throughput [events/s], {confidence_level:.0%} interval")
    axes.set_title(title)
    axes.legend(title="service option", ncols=2)
    return figure


def _against_clients(
    axes: Axes, table: pd.DataFrame, options: pd.Series, values: pd.Series, bars: np.ndarray
) -> None:
    option_lines(axes, table, options, table.concurrency, values, bars)
    count_axis(axes, table.concurrency, "concurrency [clients sending events at the same time]")


@own_style
def latency_distribution(timings: pd.DataFrame) -> Figure:
    """Distribution of the time of an event per option, with its quantiles.

    Quantiles of too few samples are left out, see ``summary.quantiles``.

    Args:
        timings: samples of the options, see ``cells.comparable``.
    """
    title = "Distribution of the time per event"
    totals = total_rows(timings)
    totals = totals[totals.status == "ok"]
    if totals.empty:
        return empty_figure(title, "No option has valid samples.")
    concurrency = baseline_concurrency(totals)
    totals = totals[totals.concurrency == concurrency]
    totals = totals.assign(time_ms=totals.duration_ns / NS_PER_MS)
    styles = option_styles(timings.option)
    options = [o for o in styles if o in set(totals.option)]
    figure = Figure(figsize=(8.2, 1.6 + 0.75 * len(options)), layout="constrained")
    axes = figure.subplots()
    sns.violinplot(
        totals,
        x="time_ms",
        y="option",
        order=options,
        hue="option",
        palette={o: styles[o]["color"] for o in options},
        inner=None,
        cut=0,  # no density where nothing was measured
        density_norm="width",
        width=0.8,
        linewidth=0,
        alpha=0.45,
        legend=False,
        ax=axes,
    )
    values = pd.DataFrame([quantiles(totals.time_ms[totals.option == o]) for o in options])
    values = values.dropna(axis="columns", how="all")
    for i, option in enumerate(options):
        for q in values:
            axes.plot(
                values[q][i],
                i,
                _QUANTILE_MARKERS[q],
                color=styles[option]["color"],
                mec="black",
                mew=0.6,
                ms=6,
                zorder=4,
            )
        axes.annotate(
            " / ".join("-" if np.isnan(value) else f"{value:.1f}" for value in values.loc[i]),
            (1, i),
            (6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.annotate(
        " / ".join(f"p{q}" for q in values) + " [ms]",
        (1, 1),
        (6, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        annotation_clip=False,
    )
    for q in values:
        axes.plot(
            [], [], _QUANTILE_MARKERS[q], color="white", mec="black", mew=0.8, ms=6, label=f"p{q}"
        )
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("time per event [ms], all blocks that count")
    axes.set_ylabel("service option")
    axes.set_title(f"{title}, {clients(concurrency)}")
    return figure


@own_style
def time_vs_space_points(timings: pd.DataFrame) -> Figure:
    """Mean time of each event against its number of space points, with a binned trend.

    The trend is the mean over the events of a bin (bins hold equal numbers of events), its bar
    the standard error of that mean. It assumes no model of how the time grows.

    Args:
        timings: samples of the options, see ``cells.comparable``.
    """
    title = "Time per event against its size"
    means = event_means(timings)
    if means.empty:
        return empty_figure(title, "No option has valid samples.")
    concurrency = baseline_concurrency(means)
    means = means[means.concurrency == concurrency]
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.subplots()
    styles = option_styles(timings.option)
    for option, style in styles.items():
        rows = means[means.option == option]
        if rows.empty:
            continue
        axes.scatter(rows.n_space_points, rows.mean_ms, s=9, color=style["color"], alpha=0.3, lw=0)
        bins = pd.qcut(rows.n_space_points, SIZE_BINS, duplicates="drop")
        trend = rows.groupby(bins, observed=True).agg(
            x=("n_space_points", "mean"), y=("mean_ms", "mean"), error=("mean_ms", "sem")
        )
        axes.errorbar(
            trend.x,
            trend.y,
            trend.error.fillna(0).to_numpy(),
            **style,
            label=option,
            ms=5,
            lw=1.4,
            capsize=2,
        )
    axes.set_xlim(_size_limits(means.n_space_points))
    from_zero(axes)
    axes.set_xlabel("number of space points in the event")
    axes.set_ylabel("mean time of the event [ms]")
    axes.set_title(f"{title}, {clients(concurrency)}")
    axes.legend(title="service option", ncols=2)
    return figure


def _size_limits(sizes: pd.Series) -> tuple[float, float]:
    """From 0 on, unless all events are of like size; with room for the markers at the ends."""
    low, high = sizes.min(), sizes.max()
    if 2 * low <= high:
        return 0, 1.05 * high
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
