"""The figure of two runs compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from exatrkx_service.analysis.comparison import (
    DIFFERENCE_SLOWDOWN,
    FASTER,
    NO_CHANGE,
    SLOWER,
)
from exatrkx_service.analysis.figures.style import (
    empty_figure,
    error_bars,
    legend_below,
    own_style,
)
from exatrkx_service.analysis.summary import SLOWDOWN

_HERE, _BASELINE = "#111111", "#9A9A9A"
_KINDS = {
    NO_CHANGE: ("#8C8C8C", "o"),
    SLOWER: ("#D55E00", ">"),
    FASTER: ("#0072B2", "<"),
}


@own_style
def changes(changes: pd.DataFrame) -> Figure:
    """Per option and concurrency: the slowdown in both runs, and by how much it changed.

    Args:
        changes: see ``comparison.changes``; cells without a difference are left out.
    """
    title = "Slowdown in this run and in the baseline"
    rows = changes[changes.changed.isin(list(_KINDS))].reset_index(drop=True)
    if rows.empty:
        return empty_figure(title, "No option has a cost in both runs.")
    y = _places(rows)
    figure = Figure(figsize=(9.5, 1.9 + 0.3 * (y[-1] + 1)), layout="constrained")
    costs, shifts = figure.subplots(1, 2, sharey=True)
    for prefix, label, colour, dy in (
        ("baseline_", "in the baseline", _BASELINE, -0.17),
        ("", "in this run", _HERE, 0.17),
    ):
        columns = [f"{prefix}{name}" for name in SLOWDOWN]
        costs.errorbar(
            rows[columns[0]],
            y + dy,
            xerr=error_bars(rows, *columns),
            fmt="o",
            ms=4,
            color=colour,
            capsize=2.5,
            label=label,
        )
    for kind, (colour, marker) in _KINDS.items():
        own = (rows.changed == kind).to_numpy()
        if not own.any():
            continue
        shifts.errorbar(
            rows[DIFFERENCE_SLOWDOWN[0]][own],
            y[own],
            xerr=error_bars(rows[own], *DIFFERENCE_SLOWDOWN),
            fmt=marker,
            ms=6 if kind != NO_CHANGE else 4,
            color=colour,
            capsize=2.5,
            label=kind,
        )
        if kind != NO_CHANGE:
            for i in np.flatnonzero(own):
                shifts.axhspan(y[i] - 0.5, y[i] + 0.5, color=colour, alpha=0.12, lw=0)
                costs.axhspan(y[i] - 0.5, y[i] + 0.5, color=colour, alpha=0.12, lw=0)
    for axes, nothing in ((costs, 1), (shifts, 0)):
        axes.axvline(nothing, color="black", lw=1.1, zorder=1)
        axes.grid(axis="y", visible=False)
    costs.set_yticks(y, [f"{row.option} with {row.concurrency}" for row in rows.itertuples()])
    costs.set_ylim(y[-1] + 0.7, -0.7)
    costs.set_ylabel("option with clients")
    costs.set_xlabel("mean over that of the control (S0)")
    shifts.set_xlabel("← faster   slowdown here less that in the baseline   slower →")
    beyond = int((rows.changed != NO_CHANGE).sum())
    costs.set_title(title)
    shifts.set_title(f"{beyond} of {len(rows)} changed beyond their interval")
    legend_below(figure, (costs, shifts))
    return figure


def _places(rows: pd.DataFrame) -> np.ndarray:
    """Places on the axis: one below the other, with a gap before each option."""
    begins = rows.option.ne(rows.option.shift())
    return np.arange(len(rows)) + 0.5 * (begins.cumsum().to_numpy() - 1)
