"""Figures of what a service costs with one client: per stage, and per part of a request."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from exatrkx_service.analysis.cells import clients
from exatrkx_service.analysis.figures.style import (
    OVERHEAD_COLOUR,
    PART_COLOURS,
    PART_NAMES,
    STAGE_COLOURS,
    STAGE_NAMES,
    baseline_concurrency,
    empty_figure,
    error_bars,
    is_compute,
    own_style,
    served_label,
)
from exatrkx_service.analysis.timings import ENSEMBLE, PIPELINE, STAGES
from exatrkx_service.options import option_order


@own_style
def comparison(
    summary: pd.DataFrame,
    breakdown: pd.DataFrame,
    cost: pd.DataFrame,
    *,
    confidence_level: float = 0.95,
) -> Figure:
    """Mean time per event and option: the five stages stacked, and the overhead on top.

    Args:
        summary: see ``summary.summarise``.
        breakdown: see ``summary.breakdown``.
        cost: difference to S0, see ``summary.cost_vs_s0``.
        confidence_level: of the intervals in the tables.

    Returns:
        The figure, for the lowest concurrency measured.
    """
    title = "Time per event: the stages and the service around them"
    if breakdown.empty:
        return empty_figure(title, "No option has valid samples.")
    concurrency = baseline_concurrency(breakdown)
    parts = breakdown[breakdown.concurrency == concurrency]
    totals = summary[summary.concurrency == concurrency].set_index("option")
    options = option_order(parts.option)

    figure = Figure(figsize=(max(6.0, 1.9 + 1.35 * len(options)), 5.6), layout="constrained")
    axes = figure.subplots()
    x = np.arange(len(options))
    bottom = np.zeros(len(options))
    compute = is_compute(parts)
    for stage in STAGES:
        rows = parts[compute & (parts.stage == stage)]
        height = rows.groupby("option").mean_ms.sum().reindex(options, fill_value=0).to_numpy()
        axes.bar(x, height, 0.66, bottom, color=STAGE_COLOURS[stage], edgecolor="white", lw=0.6)
        bottom += height
    overhead = parts[~compute].groupby("option").mean_ms.sum().reindex(options, fill_value=0)
    axes.bar(
        x, overhead, 0.66, bottom, color=OVERHEAD_COLOUR, edgecolor="#4D4D4D", hatch="////", lw=0.6
    )
    shown = totals.loc[options]
    against = cost[cost.concurrency == concurrency].set_index("option")
    axes.errorbar(x, shown.mean_ms, error_bars(shown), fmt="none", ecolor="black", capsize=4)
    top = shown.ci95_high_ms.fillna(shown.mean_ms)
    for i, option in enumerate(options):
        row = shown.loc[option]
        lines = [f"overhead {_number(overhead[option])} ms"] if overhead[option] else []
        if option in against.index:
            extra = against.loc[option]
            lines.append(f"{_number(extra.cost_ms, sign='+')} ms vs S0")
            if pd.notna(extra.ci95_low_ms):
                low, high = extra.ci95_low_ms, extra.ci95_high_ms
                lines.append(f"[{_number(low, sign='+')}, {_number(high, sign='+')}]")
        for text, height, weight in [
            ("\n".join(lines), 6, "normal"),
            (_with_interval(row), 8 + 12 * len(lines), "bold"),
        ]:
            axes.annotate(
                text,
                (i, top[option]),
                (0, height),
                textcoords="offset points",
                ha="center",
                fontweight=weight,
                fontsize=8.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
                zorder=4,
            )
    if "S0" in options:
        axes.axhline(shown.mean_ms["S0"], color="black", ls=":", lw=1.1, zorder=3)
    axes.set_ylim(0, 1.3 * top.max())
    axes.set_xticks(
        x, [f"{option}\n{served_label(parts[parts.option == option])}" for option in options]
    )
    for label in axes.get_xticklabels():
        label.set_fontsize(9)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("service option and what it serves")
    axes.set_ylabel("mean time per event [ms]")
    axes.set_title(f"{title}, {clients(concurrency)}")
    handles = [
        Patch(
            facecolor=OVERHEAD_COLOUR,
            edgecolor="#4D4D4D",
            hatch="////",
            label="overhead\n(all but compute)",
        ),
        *(Patch(color=STAGE_COLOURS[s], label=STAGE_NAMES[s]) for s in reversed(STAGES)),
    ]
    figure.legend(
        handles=handles,
        loc="outside right center",
        title=f"mean, {confidence_level:.0%} interval",
        fontsize=9,
        title_fontsize=9,
    )
    return figure


@own_style
def overhead(breakdown: pd.DataFrame) -> Figure:
    """Where the overhead of each request goes, per served option.

    The bars hold the overhead alone, since the compute time would hide it; the compute time
    stands beside them as a number.

    Args:
        breakdown: see ``summary.breakdown``.

    Returns:
        The figure, for the lowest concurrency measured.
    """
    title = "Where the overhead of each request goes"
    if breakdown.empty:
        return empty_figure(title, "No option has valid samples.")
    concurrency = baseline_concurrency(breakdown)
    parts = breakdown[breakdown.concurrency == concurrency]
    options = option_order(parts.option[~is_compute(parts)])
    if not options:
        return empty_figure(title, "No option that serves a stage was measured.")
    lanes = {option: _served_stages(parts[parts.option == option]) for option in options}

    figure = Figure(
        figsize=(8.6, 1.5 + sum(0.5 + 0.36 * len(lane) for lane in lanes.values())),
        layout="constrained",
    )
    panels = figure.subplots(
        len(options),
        1,
        sharex=True,
        squeeze=False,
        height_ratios=[len(lane) for lane in lanes.values()],
    )[:, 0]
    for axes, option in zip(panels, options, strict=True):
        rows = parts[parts.option == option]
        _overhead_panel(axes, rows, lanes[option])
        sum_ms = rows.mean_ms[~is_compute(rows)].sum()
        note = ", computing included" if "request" in set(rows.part) else ""
        axes.set_title(f"{option}: {_number(sum_ms)} ms per event{note}", fontsize=10, pad=3)
        axes.tick_params(labelsize=9)
    end = max(axes.dataLim.x1 for axes in panels)
    panels[0].set_xlim(0, 1.45 * end)
    panels[-1].set_xlabel("mean overhead per event [ms]")
    figure.supylabel("request, or step of it", fontsize=10)
    figure.suptitle(
        f"{title}, {clients(concurrency)}", x=0.01, ha="left", fontweight="bold", fontsize=11.5
    )
    figure.legend(
        handles=[
            Patch(color=PART_COLOURS[part], label=PART_NAMES[part])
            for part in PART_COLOURS
            if part != "compute" and part in set(parts.part)
        ],
        loc="outside lower center",
        ncols=4,
        fontsize=9,
    )
    return figure


def _served_stages(rows: pd.DataFrame) -> list[str]:
    served = set(rows.stage[~is_compute(rows)])
    return [stage for stage in [ENSEMBLE, PIPELINE, *STAGES] if stage in served]


def _overhead_panel(axes: Axes, rows: pd.DataFrame, lane: list[str]) -> None:
    """One option: a bar per request, its parts stacked, the sums written behind it."""
    y = np.arange(len(lane))
    left = np.zeros(len(lane))
    reach = left.copy()  # where the bars with their intervals end
    extra = rows[~is_compute(rows)]
    drawn = [part for part in PART_COLOURS if part in set(extra.part)]
    # One below the other, or the intervals of neighbours would look like one line.
    heights = np.linspace(-0.3, 0.3, len(drawn)) if len(drawn) > 1 else [0.0]
    for part, height in zip(drawn, heights, strict=True):
        bars = extra[extra.part == part].set_index("stage").reindex(lane)
        width = bars.mean_ms.fillna(0).to_numpy()
        axes.barh(y, width, 0.8, left, color=PART_COLOURS[part], edgecolor="white", lw=0.4)
        left += width
        interval = np.nan_to_num(error_bars(bars))
        has = bars.ci95_low_ms.notna()
        axes.errorbar(
            left[has],
            y[has] + height,
            xerr=interval[:, has],
            fmt="none",
            ecolor="black",
            elinewidth=0.8,
            capsize=1.2,
            capthick=0.8,
        )
        reach = np.maximum(reach, left + interval[1])
    compute = rows[is_compute(rows)].groupby("stage").mean_ms.sum()
    for i, stage in enumerate(lane):
        text = f"{_number(left[i])} ms"
        if stage in compute.index:
            text += f"  (compute {_number(compute[stage])} ms)"
        axes.annotate(
            text, (reach[i], i), (4, 0), textcoords="offset points", va="center", fontsize=8.5
        )
    axes.set_yticks(y, [STAGE_NAMES[stage] for stage in lane])
    axes.set_ylim(len(lane) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def _with_interval(row: pd.Series) -> str:
    """'44.3 ms' above '[41.2, 47.5]'; the mean alone where there is no interval."""
    mean, low, high = (_number(v, 1) for v in (row.mean_ms, row.ci95_low_ms, row.ci95_high_ms))
    return f"{mean} ms" if pd.isna(row.ci95_low_ms) else f"{mean} ms\n[{low}, {high}]"


def _number(value: float, digits: int = 2, sign: str = "") -> str:
    """With ``digits`` after the point, but one at most from 100 on, and none from 1,000 on."""
    if abs(value) >= 100:
        digits = 0 if abs(value) >= 1000 else 1
    return f"{value:{sign}.{digits}f}"
