"""The figure of the open loop: latency against the rate at which events come."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, ScalarFormatter

from exatrkx_service.analysis.figures.style import (
    empty_figure,
    option_styles,
    own_style,
    say_below,
)
from exatrkx_service.measure.arrivals import UNDER

_APART = 0.04  # of two numbers side by side, as a share of the axis


@own_style
def latency_vs_rate(capacity: pd.DataFrame, rates: pd.DataFrame) -> Figure:
    """Latency from the time an event was due, and the share that is kept up with, by rate.

    Args:
        capacity: see ``capacity.capacity_table``.
        rates: see ``capacity.rates_table``.
    """
    title = "Latency against the rate at which events come"
    broken = set(rates.option[rates.problem != ""])
    invalid = [o for o in capacity.option if o in broken or o not in set(rates.option)]
    shown = rates[~rates.option.isin(invalid)]
    if shown.empty:
        return empty_figure(title, "No option has valid samples.")
    limit_ms, quantile = capacity.limit_ms.iloc[0], capacity["quantile"].iloc[0]
    styles = option_styles(capacity.option)

    figure = Figure(figsize=(7.5, 9.0), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    shares = shown.assign(kept_up=100 * shown.achieved_evt_s / shown.offered_evt_s)
    names = ("quantile_ms", "p50_ms", "kept_up")
    for axes, column in zip(panels, names, strict=True):
        for option, rows in shares.groupby("option", sort=False):
            _line(axes, rows, column, styles[option])
    marked = capacity.dropna(subset="capacity_evt_s").merge(
        shares, left_on=["option", "capacity_evt_s"], right_on=["option", "rate_evt_s"]
    )
    for axes, column in zip(panels, names, strict=True):
        for row in marked.itertuples():
            if row.option not in invalid:
                y = getattr(row, column if column != "p50_ms" else "p50_ms_y")
                colour = styles[row.option]["color"]
                look = (
                    {"color": colour, "mec": "black", "mew": 0.7}
                    if row.certified
                    else {"mfc": "white", "mec": colour, "mew": 1.4}
                )
                axes.plot(row.capacity_evt_s, y, "*", ms=13, zorder=4, **look)
    for axes in panels[:2]:
        axes.axhline(limit_ms, color="black", ls=":", lw=1.1)
        axes.set_yscale("log")
        _plain(axes.yaxis)
    panels[0].set_ylabel(f"p{100 * quantile:g} of the latency [ms]")
    panels[1].set_ylabel("median latency [ms]")
    panels[2].set_ylabel("achieved over\noffered rate [%]")
    panels[2].set_ylim(0, 106)
    panels[2].set_xscale("log")
    _plain(panels[2].xaxis)
    panels[2].set_xlabel("offered rate [events/s]")
    marked = marked[~marked.option.isin(invalid)]
    _say_rates(panels[2], marked, styles)
    panels[0].set_title(title)
    _legend(figure, [o for o in styles if o in set(shown.option)], styles, limit_ms)
    hollow = marked.option[~marked.certified.astype(bool)]
    if len(hollow):
        say_below(
            figure,
            f"hollow star, {', '.join(hollow)}: not certified, may do more, see reason in "
            "capacity.csv",
        )
    if invalid:
        say_below(figure, f"invalid, not shown: {', '.join(invalid)}")
    return figure


def _line(axes: Axes, rows: pd.DataFrame, column: str, style: dict[str, str]) -> None:
    """One option: filled markers where the limit is certain to hold, open ones where it is not."""
    rows = rows.dropna(subset=column).sort_values("rate_evt_s")
    axes.plot(rows.rate_evt_s, rows[column], color=style["color"], lw=1.2)
    for under, part in rows.groupby(rows.verdict == UNDER):
        face = style["color"] if under else "white"
        axes.plot(part.rate_evt_s, part[column], ls="", ms=5, **style, mfc=face)


def _say_rates(axes: Axes, marked: pd.DataFrame, styles: dict[str, dict[str, str]]) -> None:
    """The capacity of each option far below its star, aside where the next one is too near."""
    apart = _APART * np.log10(np.divide(*axes.get_xlim()[::-1]))
    beside = -np.inf
    for row in marked.sort_values("capacity_evt_s").itertuples():
        rate = row.capacity_evt_s
        beside = max(np.log10(rate), beside + apart)
        colour = styles[row.option]["color"]
        axes.annotate(
            f"{rate:.0f}/s" if rate >= 100 else f"{rate:.3g}/s",
            (rate, row.kept_up),
            (10**beside, 0.04),
            textcoords=("data", "axes fraction"),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=9,
            color=colour,
            arrowprops={"arrowstyle": "-", "lw": 0.8, "ls": ":", "color": colour},
        )


def _plain(axis: object) -> None:
    """Ticks of a logarithmic axis as plain numbers, also within one decade."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_locator(LogLocator(subs=()))


def _legend(
    figure: Figure, options: list[str], styles: dict[str, dict[str, str]], limit_ms: float
) -> None:
    handles = [Line2D([], [], lw=1.2, ms=5, **styles[option], label=option) for option in options]
    handles += [
        Line2D([], [], color="black", ls=":", lw=1.1, label=f"limit, {limit_ms:g} ms"),
        Line2D([], [], color="gray", marker="*", ms=13, mec="black", ls="", label="capacity"),
        Line2D(
            [],
            [],
            color="white",
            marker="o",
            ms=5,
            mec="black",
            ls="",
            label="not certain to be\nunder the limit",
        ),
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=9)
