"""Figures of what a service costs with one client: per stage, and per part of a request."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from exatrkx_service.analysis.cells import clients
from exatrkx_service.analysis.figures.style import (
    OVERHEAD_COLOUR,
    PART_COLOURS,
    PART_NAMES,
    STAGE_COLOURS,
    STAGE_NAMES,
    UNATTRIBUTED_COLOUR,
    baseline_concurrency,
    empty_figure,
    error_bars,
    is_compute,
    is_overhead,
    option_styles,
    own_style,
    served_label,
)
from exatrkx_service.analysis.timings import (
    BASELINE,
    ENSEMBLE,
    EVENT,
    MODEL,
    PIPELINE,
    STAGES,
    UNATTRIBUTED,
)
from exatrkx_service.options import option_order

_OVERHEAD = {"facecolor": OVERHEAD_COLOUR, "edgecolor": "#4D4D4D", "hatch": "////", "lw": 0.6}


@own_style
def comparison(
    summary: pd.DataFrame, breakdown: pd.DataFrame, *, confidence_level: float = 0.95
) -> Figure:
    """Mean time per event and option: the five stages stacked, and the service around them on top.

    Args:
        summary: see ``summary.summarise``.
        breakdown: see ``breakdown.breakdown``.
        confidence_level: of the intervals in the tables.

    Returns:
        The figure, for the lowest concurrency measured.
    """
    title = "Time per event: the stages and the service around them"
    if breakdown.empty:
        return empty_figure(title, "No option has valid samples.")
    concurrency = baseline_concurrency(breakdown)
    parts = breakdown[breakdown.concurrency == concurrency]
    options = option_order(parts.option)
    shown = summary[summary.concurrency == concurrency].set_index("option").loc[options]

    figure = Figure(figsize=(max(6.5, 2.4 + 1.35 * len(options)), 5.6), layout="constrained")
    axes = figure.subplots()
    x = np.arange(len(options))
    bottom = np.zeros(len(options))
    compute = is_compute(parts)
    computed = [*STAGES, *([MODEL] if MODEL in set(parts.stage[compute]) else [])]
    layers = [
        *((compute & (parts.stage == s), {"color": STAGE_COLOURS[s]}) for s in computed),
        (is_overhead(parts), _OVERHEAD),
        (parts.part == UNATTRIBUTED, {"color": UNATTRIBUTED_COLOUR}),
    ]
    for rows, look in layers:
        height = parts[rows].groupby("option").mean_ms.sum().reindex(options, fill_value=0)
        axes.bar(x, height, 0.66, bottom, **{"edgecolor": "white", "lw": 0.6} | look)
        bottom += height.to_numpy()
    axes.errorbar(
        x, shown.mean_ms, error_bars(shown), fmt="o", ms=4, color="black", capsize=4, zorder=4
    )
    axes.hlines(shown.control_ms, x - 0.42, x + 0.42, "black", ":", lw=1.6, zorder=3)
    top = np.fmax(bottom, shown[["ci95_high_ms", "mean_ms"]].max(axis=1))
    for i, row in enumerate(shown.itertuples()):
        what = "A/A" if row.Index == BASELINE else "cost"
        cost = _with_interval(row.cost_ms, row.cost_low_ms, row.cost_high_ms, sign="+")
        mean = _with_interval(row.mean_ms, row.ci95_low_ms, row.ci95_high_ms, digits=1)
        cost_lines = f"{what} {cost}" if pd.notna(row.cost_ms) else ""
        for text, height, weight in [
            (cost_lines, 6, "bold"),
            (mean, 8 + 12 * (1 + cost_lines.count("\n")) * bool(cost_lines), "normal"),
        ]:
            axes.annotate(
                text,
                (i, top.iloc[i]),
                (0, height),
                textcoords="offset points",
                ha="center",
                fontweight=weight,
                fontsize=8.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
                zorder=4,
            )
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
        Line2D(
            [], [], color="black", ls=":", lw=1.6, label="its control, S0\nin the same\nseconds"
        ),
        Patch(color=UNATTRIBUTED_COLOUR, label="in no part"),
        Patch(**_OVERHEAD, label="overhead\n(all but compute)"),
        *(Patch(color=STAGE_COLOURS[s], label=STAGE_NAMES[s]) for s in reversed(computed)),
    ]
    figure.legend(
        handles=handles,
        loc="outside right center",
        title=f"bold: cost,\noption less control;\n{confidence_level:.0%} intervals",
        fontsize=9,
        title_fontsize=9,
    )
    return figure


@own_style
def overhead(
    breakdown: pd.DataFrame, cost: pd.DataFrame, *, confidence_level: float = 0.95
) -> Figure:
    """What each option costs, and where the overhead of each of its requests goes.

    The bars hold the overhead alone, since the compute time would hide it; the compute time
    stands beside them as a number.

    Args:
        breakdown: see ``breakdown.breakdown``.
        cost: see ``summary.cost_table``.
        confidence_level: of the intervals in the tables.

    Returns:
        The figure, for the lowest concurrency measured.
    """
    title = "What a service costs, and where its overhead goes"
    if breakdown.empty:
        return empty_figure(title, "No option has valid samples.")
    concurrency = baseline_concurrency(breakdown)
    parts = breakdown[breakdown.concurrency == concurrency]
    options = option_order(parts.option[is_overhead(parts)])
    if not options:
        return empty_figure(title, "No option that serves a stage was measured.")
    lanes = {option: _served_stages(parts[parts.option == option]) for option in options}
    costs = cost[cost.concurrency == concurrency].set_index("option")

    heights = [1.0 + len(costs), *(0.6 + len(lane) for lane in lanes.values())]
    figure = Figure(figsize=(8.6, 2.0 + 0.4 * sum(heights)), layout="constrained")
    first, *panels = figure.subplots(1 + len(options), 1, height_ratios=heights)
    _cost_panel(first, costs, confidence_level)
    for axes, option in zip(panels, options, strict=True):
        rows = parts[parts.option == option]
        _overhead_panel(axes, rows, lanes[option])
        sum_ms = rows.mean_ms[~is_compute(rows)].sum()
        note = ", computing included" if "request" in set(rows.part) else ""
        axes.set_title(
            f"{option}, around the stages' own work: {_number(sum_ms)} ms per event{note}",
            fontsize=10,
            pad=3,
        )
        axes.tick_params(labelsize=9)
        axes.sharex(panels[0])
        axes.tick_params(labelbottom=axes is panels[-1])
    panels[0].set_xlim(0, 1.45 * max(axes.dataLim.x1 for axes in panels))
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


def _cost_panel(axes: Axes, costs: pd.DataFrame, confidence_level: float) -> None:
    """One point per option with its interval; S0 against itself must lie on the line of zero."""
    options = option_order(costs.index)
    costs = costs.loc[options]
    bars = error_bars(costs, "cost_ms")
    for i, (option, style) in enumerate(option_styles(options).items()):
        axes.errorbar(
            costs.cost_ms[option], i, xerr=bars[:, i : i + 1], **style, ms=6, lw=1.6, capsize=4
        )
        row = costs.loc[option]
        axes.annotate(
            _with_interval(row.cost_ms, row.ci95_low_ms, row.ci95_high_ms, "+", sep=" "),
            (row.cost_ms + bars[1, i], i),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    axes.axvline(0, color="black", lw=1.0, zorder=1)
    ends = (costs.cost_ms - bars[0]).min(), (costs.cost_ms + bars[1]).max()
    low, high = min(0.0, ends[0]), max(0.0, ends[1])
    reach = (high - low) or 1.0
    axes.set_xlim(low - 0.05 * reach, high + 0.45 * reach)
    names = [f"{option} (A/A)" if option == BASELINE else option for option in options]
    axes.set_yticks(range(len(options)), names)
    axes.set_ylim(len(options) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_title("Cost: the option less its control in the same seconds", fontsize=10, pad=3)
    axes.set_xlabel(f"mean cost per event [ms], {confidence_level:.0%} interval")
    axes.tick_params(labelsize=9)


def _served_stages(rows: pd.DataFrame) -> list[str]:
    served = set(rows.stage[is_overhead(rows)])
    return [*(stage for stage in [ENSEMBLE, PIPELINE, MODEL, *STAGES] if stage in served), EVENT]


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


def _with_interval(
    value: float, low: float, high: float, sign: str = "", *, digits: int = 2, sep: str = "\n"
) -> str:
    """'44.30 ms', then '[41.20, 47.50]'; the value alone where there is no interval."""
    texts = [_number(v, digits, sign) for v in (value, low, high)]
    if pd.isna(low):
        return f"{texts[0]} ms"
    return f"{texts[0]} ms{sep}[{texts[1]}, {texts[2]}]"


def _number(value: float, digits: int = 2, sign: str = "") -> str:
    """With ``digits`` after the point, but one at most from 100 on, and none from 1,000 on."""
    if abs(value) >= 100:
        digits = 0 if abs(value) >= 1000 else 1
    return f"{value:{sign}.{digits}f}"
