"""Figure of `snakemake study_ensemble`: options that differ in one thing, and what each costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from exatrkx_service.analysis.cells import clients
from exatrkx_service.analysis.figures.style import (
    PART_COLOURS,
    PART_NAMES,
    empty_figure,
    error_bars,
    is_compute,
    own_style,
)
from exatrkx_service.analysis.summary import COST

BASE = "ensemble"  # what the others are compared with


@own_style
def study_ensemble(
    summary: pd.DataFrame, breakdown: pd.DataFrame, *, confidence_level: float = 0.95
) -> Figure:
    """What each variant costs beside S0, where that goes, and how it differs from the ensemble.

    Args:
        summary: see ``summary.summarise``; the costs are each of its own job, against S0 beside it.
        breakdown: see ``breakdown.breakdown``.
        confidence_level: of the intervals in the tables.

    Returns:
        The figure: a panel per concurrency, the cheapest variant at the top.
    """
    title = "What the ensemble costs, and what changes it"
    known = summary.dropna(subset="cost_ms")
    if BASE not in set(known.option):
        return empty_figure(title, f"{BASE} has no valid samples.")
    loads = sorted(known.concurrency[known.option == BASE])
    first = known[known.concurrency == loads[0]].sort_values("cost_ms")
    options = list(dict.fromkeys([*first.option, *known.option]))
    figure = Figure(
        figsize=(9.5, 2.6 + (0.8 + 0.34 * len(options)) * len(loads)), layout="constrained"
    )
    panels = figure.subplots(len(loads), 1, sharey=True, squeeze=False)[:, 0]
    for axes, concurrency in zip(panels, loads, strict=True):
        costs = known[known.concurrency == concurrency].set_index("option").reindex(options)
        parts = breakdown[(breakdown.concurrency == concurrency) & ~is_compute(breakdown)]
        _panel(axes, costs, parts.groupby(["option", "part"]).mean_ms.sum())
        axes.set_title(clients(concurrency), fontsize=10.5, pad=4)
        axes.set_xlabel("overhead parts (bars), cost (points), per event [ms]")
    panels[0].set_yticks(range(len(options)), options)
    panels[0].set_ylim(len(options) - 0.5, -0.5)
    figure.supylabel("variant", fontsize=10)
    drawn = set(breakdown.part[~is_compute(breakdown)])
    figure.legend(
        handles=[
            Line2D([], [], color="black", marker="o", lw=1.6, label="cost: less S0 beside it"),
            *(
                Patch(color=colour, label=PART_NAMES[part])
                for part, colour in PART_COLOURS.items()
                if part in drawn
            ),
        ],
        loc="outside lower center",
        ncols=4,
        fontsize=9,
    )
    figure.suptitle(
        f"{title}\n(numbers: the cost, in brackets the cost less that of {BASE} with its "
        f"{confidence_level:.0%} interval, bold where that leaves out zero)",
        x=0.01,
        ha="left",
        fontsize=10.5,
    )
    return figure


def differences(costs: pd.DataFrame) -> pd.DataFrame:
    """What each variant costs less the cost of the ensemble.

    Args:
        costs: columns ``cost_ms``, ``cost_low_ms``, ``cost_high_ms``, by option [ms].

    Returns:
        ``value`` and ``half``, half the width of its interval [ms]: the half-widths of both, which
        are of jobs of their own, added in quadrature.
    """
    half = (costs.cost_high_ms - costs.cost_low_ms) / 2
    value = costs.cost_ms - costs.cost_ms[BASE]
    return pd.DataFrame({"value": value, "half": np.hypot(half, half[BASE])})


def _panel(axes: Axes, costs: pd.DataFrame, parts: pd.Series) -> None:
    y = np.arange(len(costs))
    left = np.zeros(len(costs))
    for part, colour in PART_COLOURS.items():
        if part in parts.index.get_level_values("part"):
            width = parts.xs(part, level="part").reindex(costs.index).fillna(0).clip(lower=0)
            axes.barh(y, width, 0.7, left, color=colour, edgecolor="white", lw=0.4)
            left += width.to_numpy()
    bars = np.nan_to_num(error_bars(costs, *COST))
    axes.errorbar(costs.cost_ms, y, xerr=bars, fmt="o", color="black", ms=5, lw=1.6, capsize=3)
    compared = differences(costs)
    reach = np.fmax(left, (costs.cost_ms + bars[1]).fillna(0))
    for i, (option, row) in enumerate(compared.iterrows()):
        if pd.isna(row.value):
            text, bold = "not measured, or not valid", False
        else:
            text, bold = f"{costs.cost_ms[option]:+.2f}", abs(row.value) > row.half
            if option != BASE:
                text += f" ({row.value:+.2f} ± {row.half:.2f})"
        axes.annotate(
            text,
            (reach.iloc[i], i),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            fontweight="bold" if bold else "normal",
        )
    axes.axvline(costs.cost_ms[BASE], color="black", ls=":", lw=1.2, zorder=0)
    axes.axvline(0, color="black", lw=1.0, zorder=0)
    axes.set_xlim(min(0.0, float((costs.cost_ms - bars[0]).min())), 1.35 * float(reach.max()))
    axes.grid(axis="y", visible=False)
