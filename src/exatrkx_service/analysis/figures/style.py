"""What all figures share: colours, names, the empty figure, and how a figure is saved."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.cells import INVALID, UNSTABLE
from exatrkx_service.analysis.timings import (
    COMPUTE_PARTS,
    ENSEMBLE,
    EVENT,
    MODEL,
    PIPELINE,
    STAGES,
    UNATTRIBUTED,
)
from exatrkx_service.options import option_order

# Okabe and Ito's colours, told apart with every common form of colour blindness.
STAGE_COLOURS = dict(
    zip(
        [*STAGES, MODEL],
        ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"],
        strict=True,
    )
)
OVERHEAD_COLOUR = "#BDBDBD"
UNATTRIBUTED_COLOUR = "#222222"
# What the client does is blue, the way between is grey, Triton's core is warm, the exchange with a
# model is violet; compute is green.
PART_COLOURS = {
    "serialise": "#0072B2",
    "send": "#6E6E6E",
    "accept": "#F0E442",
    "queue": "#D55E00",
    "compute_input": "#E69F00",
    "hand_over": "#CC79A7",
    "convert": "#7B3F99",
    "compute": "#009E73",
    "hand_back": "#E7B6D3",
    "compute_output": "#F7C873",
    "between_steps": "#7A4A1E",
    "answer": "#B5A900",
    "receive": "#B4B4B4",
    "request": "#C7B299",
    "deserialise": "#56B4E9",
    UNATTRIBUTED: UNATTRIBUTED_COLOUR,
}
PART_NAMES = {
    "serialise": "serialise (client)",
    "send": "send",
    "accept": "accept (server)",
    "queue": "queue (server)",
    "compute_input": "compute input (server)",
    "hand_over": "hand over (to the model)",
    "convert": "convert (in the model)",
    "compute": "compute",
    "hand_back": "hand back (by the model)",
    "compute_output": "compute output (server)",
    "between_steps": "between steps (server)",
    "answer": "answer (server)",
    "receive": "receive",
    "request": "request, not divided",
    "deserialise": "deserialise (client)",
    UNATTRIBUTED: "in no part",
}
STAGE_NAMES = {
    **{stage: stage for stage in STAGES},
    "gnn": "GNN",
    ENSEMBLE: "ensemble request",
    PIPELINE: "fused request",
    MODEL: "their model",
    EVENT: "in no part",
}
# Paul Tol's "bright" scheme, with black for the baseline; more options take the rest in turn.
_OPTION_COLOURS = {
    "S0": "#111111",
    "S1": "#4477AA",
    "S2": "#66CCEE",
    "S3": "#228833",
    "S4": "#EE6677",
    "S5": "#AA3377",
}
_MORE_COLOURS = ["#CCBB44", "#997700", "#994455", "#BBBBBB", "#004488"]
# Of track finders: those that are known, and colours and markers for more.
_METHODS = {
    "exatrkx": ("Exa.TrkX", "#0072B2", "o"),
    "walkthrough": ("Exa.TrkX, walk-through", "#009E73", "s"),
    "CKF": ("ACTS CKF", "#D55E00", "D"),
}
_METHOD_COLOURS = ["#CC79A7", "#56B4E9", "#E69F00", "#555555", "#7A4A1E"]
_METHOD_MARKERS = "^vPX*<>hp"  # more than colours: a colour that comes again has another marker
_MARKERS = "osD^vPX*<>hp"

RC = {
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,
}
# Of every function that draws or saves: matplotlib's own defaults and RC, whatever matplotlibrc is
# found in the working folder or in the user's configuration.
own_style = style.context(["default", RC])


def option_styles(options: Iterable[str]) -> dict[str, dict[str, str]]:
    """Colour and marker of each option: fixed for S0 to S5, given out in order to others.

    Returns:
        Per option, in natural order, the keyword arguments ``color`` and ``marker``.
    """
    more = cycle(_MORE_COLOURS)
    return {
        option: {"color": _OPTION_COLOURS.get(option) or next(more), "marker": marker}
        for option, marker in zip(option_order(options), cycle(_MARKERS))
    }


def method_styles(
    methods: Iterable[str], pipelines: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Name, colour and marker of each track finder: fixed for those known, in order for others.

    Others are named after their key of ``physics.methods``.

    Args:
        methods: their names.
        pipelines: those that are the pipeline with other settings, which their names say.

    Returns:
        Per method, in the order of their first appearance, ``name``, ``color`` and ``marker``.
    """
    more = zip(cycle(_METHOD_COLOURS), cycle(_METHOD_MARKERS))
    styles = {}
    for method in dict.fromkeys(methods):
        own = f"Exa.TrkX, {method}" if method in pipelines else method
        name, colour, marker = _METHODS.get(method) or (own, *next(more))
        styles[method] = {"name": name, "color": colour, "marker": marker}
    return styles


def is_compute(table: pd.DataFrame) -> pd.Series:
    """Which rows are a stage's own work, on whichever side."""
    return table.part.isin(COMPUTE_PARTS)


def is_overhead(table: pd.DataFrame) -> pd.Series:
    """Which rows are what a service adds: all that has a name and is no stage's own work."""
    return ~is_compute(table) & (table.part != UNATTRIBUTED)


def served_label(rows: pd.DataFrame) -> str:
    """What an option serves, read off its stages and parts: 'embedding + gnn', 'ensemble', ..."""
    stages = set(rows.stage)
    if ENSEMBLE in stages:
        return "ensemble,\none request"
    if PIPELINE in stages:
        return "fused,\none request"
    if MODEL in stages:
        return "their model,\none request"
    served = [s for s in STAGES if set(rows.part[rows.stage == s]) - {"compute"}]
    if not served:
        return "no service"
    if len(served) == len(STAGES):
        return "all stages,\none request each"
    return "\n".join(STAGE_NAMES[s] for s in served)


def error_bars(
    table: pd.DataFrame,
    value: str = "mean_ms",
    low: str = "ci95_low_ms",
    high: str = "ci95_high_ms",
) -> np.ndarray:
    """Lengths (2, rows) of the error bars below and above a column; 0 without an interval."""
    below = (table[value] - table[low]).clip(lower=0)
    above = (table[high] - table[value]).clip(lower=0)
    return np.array([below.fillna(0), above.fillna(0)])


def baseline_concurrency(table: pd.DataFrame) -> int:
    """The lowest concurrency measured: 1 unless the config leaves it out."""
    return int(table.concurrency.min())


def fewest_clients(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of the cells that a figure of the fewest clients shows, or leaves out as invalid."""
    invalid = summary.verdict == INVALID
    shown = baseline_concurrency(summary[~invalid] if not invalid.all() else summary)
    return summary[(summary.concurrency == shown) | (invalid & (summary.concurrency < shown))]


def name_cells(figure: Figure, summary: pd.DataFrame, reasons: str = "the report") -> None:
    """Says below a figure which cells it leaves out, as invalid, and which are unstable.

    Args:
        figure: the figure.
        summary: see ``summary.summarise``.
        reasons: where it stands why.
    """
    for verdict, text in ((INVALID, "invalid, not shown"), (UNSTABLE, f"unstable, see {reasons}")):
        rows = summary[summary.verdict == verdict]
        cells = [
            f"{option} with {', '.join(map(str, sorted(own.concurrency)))}"
            for option, own in rows.groupby("option")
        ]
        if cells:
            say_below(figure, f"{text} (option with clients): {'; '.join(cells)}")


def say_below(figure: Figure, text: str) -> None:
    """Puts a text below the last axis that has a label."""
    labelled = [axes for axes in figure.axes if axes.get_xlabel()]
    if labelled:
        axes = labelled[-1]
        width = 90 // axes.get_subplotspec().get_gridspec().ncols
        axes.set_xlabel(f"{axes.get_xlabel()}\n{textwrap.fill(text, width)}")


def empty_figure(title: str, reason: str) -> Figure:
    """A figure that says why there is nothing to show."""
    figure = Figure(figsize=(7.5, 2.5), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_title(title)
    axes.text(0.5, 0.5, reason, ha="center", va="center", wrap=True, transform=axes.transAxes)
    return figure


def option_lines(
    axes: Axes,
    table: pd.DataFrame,
    options: Iterable[str],
    x: pd.Series,
    values: pd.Series,
    bars: np.ndarray,
) -> None:
    """One line per option over a logarithmic axis; points of unstable cells are hollow.

    Args:
        axes: to draw on.
        table: a row per point, with columns ``option`` and ``verdict``.
        options: all that have a colour in the figure.
        x: of each row.
        values: of each row.
        bars: of each row, see ``error_bars``.
    """
    styles, drawn = option_styles(options), option_order(table.option)
    # Side by side, so that all error bars are seen.
    for option, place in zip(drawn, 2 ** np.linspace(-0.07, 0.07, len(drawn)), strict=True):
        own = (table.option == option).to_numpy()
        at, y = x[own] * place, values[own]
        axes.errorbar(at, y, bars[:, own], **styles[option], label=option, ms=5, lw=1.4, capsize=3)
        hollow = (table.verdict[own] == UNSTABLE).to_numpy()
        axes.plot(at[hollow], y[hollow], ls="", **styles[option], ms=5, mfc="white", zorder=4)


def count_axis(axes: Axes, counts: Iterable[int], label: str) -> None:
    """A logarithmic axis of numbers such as clients, with a tick at each that was measured."""
    ticks = sorted(set(counts))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(label)


def from_zero(axes: Axes) -> None:
    """The y axis from 0 to a little above what is drawn, also where all of it is equally high."""
    top = axes.dataLim.y1
    # Nothing may be drawn: a network may have found nothing.
    axes.set_ylim(0, 1.06 * top if np.isfinite(top) and top > 0 else None)


def legend_below(figure: Figure, panels: Iterable[Axes]) -> None:
    """A legend with each label of the panels once, in as many columns as the figure is wide for."""
    entries = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    column_in = 0.7 + 0.08 * max(map(len, entries))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=max(1, int(figure.get_figwidth() / column_in)),
        fontsize=9,
    )


@own_style
def save_figure(figure: Figure, stem: Path | str) -> None:
    """Write ``stem``.png (200 dpi) and ``stem``.pdf, without dates so that reruns are equal."""
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(stem.with_suffix(".png"), dpi=200)
    figure.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None})
