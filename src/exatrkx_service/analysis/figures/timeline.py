"""The timeline of one ensemble request, from the server's trace."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from exatrkx_service.analysis.cells import clients
from exatrkx_service.analysis.figures.style import (
    PART_COLOURS,
    PART_NAMES,
    STAGE_NAMES,
    baseline_concurrency,
    empty_figure,
    option_styles,
    own_style,
)
from exatrkx_service.analysis.timings import (
    ENSEMBLE,
    NS_PER_MS,
    SAMPLE,
    STAGES,
    UNATTRIBUTED,
    total_rows,
)

# Sums of several durations, or the whole request: no place on a timeline.
_NO_PLACE = ("between_steps", "request", UNATTRIBUTED)


@own_style
def ensemble_timeline(timings: pd.DataFrame) -> Figure:
    """When each stage of one ensemble request waited, copied and computed.

    The event is the one whose number of space points is nearest the sample's median; of its
    repetitions the one whose time is nearest their median.

    Args:
        timings: samples of the options, see ``cells.comparable``.

    Returns:
        The figure, for the lowest concurrency measured; without an ensemble a figure says so.
    """
    title = "One event inside the ensemble"
    rows = timings[timings.option.isin(timings.option[timings.stage == ENSEMBLE].unique())]
    totals = total_rows(rows)
    totals = totals[totals.status == "ok"]
    if totals.empty:
        return empty_figure(title, "No option that serves the ensemble has valid samples.")
    concurrency = baseline_concurrency(totals)
    totals = totals[totals.concurrency == concurrency]
    option = next(iter(option_styles(totals.option)))
    chosen = _typical_sample(totals[totals.option == option])
    sample = rows[(rows[SAMPLE] == chosen[SAMPLE]).all(axis=1)]
    parts = sample[sample.stage.isin([*STAGES, ENSEMBLE]) & ~sample.part.isin(_NO_PLACE)]
    parts = parts.assign(
        begin_ms=(parts.start_ns - chosen.start_ns) / NS_PER_MS,
        length_ms=parts.duration_ns / NS_PER_MS,
        part=parts.part.replace({"compute_infer": "compute"}),
    )
    # Tensors are taken before the stage's own work, and given after it.
    compute_ms = parts[parts.part == "compute"].set_index("stage").length_ms
    around_stage = parts.part == "convert"
    parts["drawn_ms"] = parts.length_ms + parts.stage.map(compute_ms).where(around_stage, 0)

    lanes = [ENSEMBLE, *STAGES]
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    axes = figure.subplots()
    total_ms = chosen.duration_ns / NS_PER_MS
    axes.barh(0, total_ms, 0.62, color="#F2F2F2", edgecolor="#8C8C8C", lw=0.8)
    for part, bars in sorted(parts.groupby("part"), key=lambda group: group[0] == "compute"):
        axes.barh(
            bars.stage.map(lanes.index),
            bars.drawn_ms,
            0.62,
            bars.begin_ms,
            color=PART_COLOURS[part],
            edgecolor=PART_COLOURS[part],
            lw=0.6,  # keeps a part of some microseconds visible
        )
    axes.annotate(
        f"{total_ms:.2f} ms",
        (total_ms, 0),
        (4, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )
    ends = (parts.begin_ms + parts.drawn_ms).groupby(parts.stage).max()
    lengths = parts.pivot_table(index="stage", columns="part", values="length_ms", aggfunc="sum")
    compute = lengths.compute.dropna()
    around = lengths.drop(columns="compute").sum(axis=1)
    for stage in compute.index:
        axes.annotate(
            f"{compute[stage]:.2f} + {around[stage]:.2f} ms",
            (ends[stage], lanes.index(stage)),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(lanes)), [STAGE_NAMES[lane] for lane in lanes])
    axes.invert_yaxis()
    axes.set_ylabel("request and its steps")
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.16 * max(total_ms, ends.max()))
    axes.set_xlabel(
        "time since the request's start [ms]  (numbers: compute + all else on the server)"
    )
    axes.set_title(
        f"{title} ({option}), {clients(concurrency)}: event {chosen.event}, "
        f"{chosen.n_space_points:,} space points"
    )
    figure.legend(
        handles=[
            Patch(color=PART_COLOURS[part], label=PART_NAMES[part])
            for part in PART_COLOURS
            if part in set(parts.part)
        ],
        loc="outside lower center",
        ncols=4,
        fontsize=9,
    )
    return figure


def _typical_sample(totals: pd.DataFrame) -> pd.Series:
    sizes = totals.groupby("event").n_space_points.first()
    event = (sizes - sizes.median()).abs().idxmin()
    samples = totals[totals.event == event]
    return samples.loc[(samples.duration_ns - samples.duration_ns.median()).abs().idxmin()]
