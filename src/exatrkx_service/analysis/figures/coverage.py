"""The figure of the test of the intervals."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from exatrkx_service.analysis.cells import clients
from exatrkx_service.analysis.figures.style import error_bars, legend_below, own_style

_KINDS = {True: ("holds zero", "#4477AA", "o"), False: ("misses zero", "#D55E00", "D")}


@own_style
def coverage(coverage: pd.DataFrame, *, confidence_level: float = 0.95) -> Figure:
    """S0 against itself: the interval of each repeat around zero; those that miss it stand out.

    Args:
        coverage: see ``coverage.coverage_table``.
        confidence_level: of its intervals.
    """
    tables = list(coverage.groupby("concurrency"))
    figure = Figure(figsize=(7.5, 0.9 + 2.7 * len(tables)), layout="constrained")
    panels = figure.subplots(len(tables), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (concurrency, rows) in zip(panels, tables, strict=True):
        axes.axhline(0, color="black", lw=1.1, zorder=1)
        for holds, (name, colour, marker) in _KINDS.items():
            own = rows[rows.holds_zero == holds]
            axes.errorbar(
                own.repeat,
                own.cost_ms,
                error_bars(own, "cost_ms", "cost_low_ms", "cost_high_ms"),
                fmt=marker,
                ms=4.5,
                color=colour,
                capsize=3,
                label=name,
            )
        held, wanted = int(rows.holds_zero.sum()), f"{confidence_level:.0%} expected"
        axes.set_title(
            f"S0 against itself, {clients(concurrency)}: zero in {held} of {len(rows)} intervals "
            f"({held / len(rows):.0%}; {wanted})",
            fontsize=10.5,
        )
        axes.set_ylabel("cost [ms]")
        axes.grid(axis="x", visible=False)
    panels[-1].set_xlabel("repeat")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, panels)
    return figure
