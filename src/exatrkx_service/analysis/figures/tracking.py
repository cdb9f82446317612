"""Figures of how well track finders find tracks: efficiencies, rates, and efficiency for time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.figures.style import (
    empty_figure,
    legend_below,
    method_styles,
    own_style,
    say_below,
)
from exatrkx_service.analysis.physics import EFFICIENCY, OVERALL
from exatrkx_service.tracking.populations import HNL_SUFFIX, POPULATIONS, SELECTIONS

AXIS_NAMES = {
    "production_radius": "production radius [mm]",
    "pt": "transverse momentum $p_T$ [GeV]",
    "eta": "pseudorapidity η",
    "inner_radius": "radius of the innermost point [mm]",
    "n_space_points": "number of space points",
}
RATE_NAMES = {
    "fake_rate": "fakes",
    "duplicate_rate": "duplicates",
    "fragment_rate": "fragments",
}
_TICKS = {
    "pt": [0.5, 1, 2, 5, 10, 20, 50, 100],
    "n_space_points": [3, 5, 10, 20, 50],
    "production_radius": [0, 30, 115, 260, 500, 1000],
    "inner_radius": [0, 50, 140, 310, 580, 1100],
}
_LOG_TICKS = [digit * 10**power for power in range(-2, 6) for digit in (1, 2, 5)]
_WIDE = 10  # the ratio of the slowest to the fastest method from which times are logarithmic
_FEW = 10  # a bin with fewer entries does not decide what an axis shows


@own_style
def efficiency(physics: pd.DataFrame, *, confidence_level: float = 0.95) -> Figure:
    """Technical efficiency of every population against radius, momentum and pseudorapidity.

    Args:
        physics: see ``physics.physics_table``.
        confidence_level: of the intervals in the table.
    """
    rows = physics[physics.quantity == EFFICIENCY]
    if not rows.total.sum():
        return empty_figure("Technical efficiency", "The sample has no particle of A or B.")
    names = {name: _title(name) for name in POPULATIONS}
    parts = {name: rows[rows.population == name] for name in names}
    parts = {name: part for name, part in parts.items() if part.total.sum()}
    figure = _grid(
        {names[name]: part for name, part in parts.items()},
        ("production_radius", "pt", "eta"),
        f"Technical efficiency, {confidence_level:.0%} intervals",
        "technical efficiency",
        _styles(physics),
    )
    for axes in figure.axes:
        bottom = axes.get_ylim()[0]
        axes.set_ylim(bottom, 1 + 0.04 * (1 - bottom))
    return figure


@own_style
def fake_and_duplicate_rates(physics: pd.DataFrame, *, confidence_level: float = 0.95) -> Figure:
    """Which share of the candidates are fakes, duplicates and fragments.

    Args:
        physics: see ``physics.physics_table``.
        confidence_level: of the intervals in the table.
    """
    rows = physics[physics.quantity.isin(RATE_NAMES)]
    if not rows.total.sum():
        return empty_figure("Fakes, duplicates and fragments", "No candidate was found.")
    figure = _grid(
        {name: rows[rows.quantity == rate] for rate, name in RATE_NAMES.items()},
        ("inner_radius", "n_space_points", "eta"),
        f"Candidates that match no particle, {confidence_level:.0%} intervals",
        "share of candidates",
        _styles(physics),
    )
    for axes in figure.axes:
        top = max(0.01, axes.get_ylim()[1])
        axes.set_ylim(-0.04 * top, top)  # the markers at 0 stand on the axis as a whole
    return figure


@own_style
def efficiency_vs_time(physics: pd.DataFrame, *, confidence_level: float = 0.95) -> Figure:
    """Efficiency of each population against the mean time per event, a point per method.

    Args:
        physics: see ``physics.physics_table``.
        confidence_level: of the intervals in the table.
    """
    title = "Efficiency against time per event"
    overall = physics[physics.variable == OVERALL]
    times = overall[overall.quantity == "time_mean_ms"].set_index("method")
    rows = overall[(overall.quantity == EFFICIENCY) & overall.value.notna()]
    if rows.empty:
        return empty_figure(title, "The sample has no particle of A or B.")
    # As ``efficiency`` does: no panel of a population without a particle.
    suffixes = [""]
    if rows.population.str.endswith(HNL_SUFFIX).any():
        suffixes.append(HNL_SUFFIX)
    figure = Figure(figsize=(9.4, 1.2 + 3.0 * len(suffixes)), layout="constrained")
    grid = figure.subplots(len(suffixes), len(SELECTIONS), sharex=True, sharey="row", squeeze=False)
    styles = _styles(physics)
    untimed = [styles[method]["name"] for method in styles if pd.isna(times.value[method])]
    # Methods that are as fast or find as many lie on each other: each is drawn above those before
    # it, smaller and thinner, so that all can be seen.
    sizes = np.linspace(11, 6, len(styles)), np.linspace(3.2, 1.1, len(styles))
    for line, suffix in zip(grid, suffixes, strict=True):
        for axes, selection in zip(line, SELECTIONS, strict=True):
            name = selection + suffix
            part = rows[rows.population == name].set_index("method")
            for i, (method, style) in enumerate(styles.items()):
                if method not in part.index or pd.isna(times.value[method]):
                    continue
                row, time = part.loc[method], times.loc[method]
                axes.errorbar(
                    time.value,
                    row.value,
                    _bars([row.value], [row.low], [row.high]),
                    _bars([time.value], [time.low], [time.high]),
                    color=style["color"],
                    marker=style["marker"],
                    mec="white",
                    mew=0.5,
                    ms=sizes[0][i],
                    elinewidth=sizes[1][i],
                    capsize=sizes[1][i] + 2,
                    zorder=3 + i,
                    label=style["name"],
                )
            axes.set_title(_title(name), fontsize=9.5)
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("mean time per event [ms]")
        shown = rows[rows.population.isin([name + suffix for name in SELECTIONS])]
        if not shown.empty:
            margin = 0.07 * (1 - shown.low.min())
            line[0].set_ylim(shown.low.min() - margin, 1 + margin)
        line[0].set_ylabel("technical efficiency")
    _set_time_scale(grid[0, 0], times.value, times.high.fillna(times.value))
    if untimed:
        say_below(figure, f"not timed, not shown: {', '.join(untimed)}")
    legend_below(figure, grid.flat)
    figure.suptitle(
        f"{title}, {confidence_level:.0%} intervals",
        x=0.01,
        ha="left",
        fontweight="bold",
        fontsize=11.5,
    )
    return figure


def _styles(physics: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Of each method; those with edges are pipelines."""
    with_edges = physics.quantity.str.startswith("edge_")
    return method_styles(physics.method, set(physics.method[with_edges]))


def _set_time_scale(axes: Axes, times: pd.Series, high: pd.Series) -> None:
    """From 0 on; logarithmic where the fastest would stand at the edge beside the slowest."""
    if times.max() < _WIDE * times.min():
        axes.set_xlim(0, 1.15 * high.max())
        return
    axes.set_xscale("log")
    limits = 0.7 * times.min(), 1.3 * high.max()
    ticks = [tick for tick in _LOG_TICKS if limits[0] <= tick <= limits[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(limits)


def _title(population: str) -> str:
    """'A, HNL decay products', and what A is where it comes first."""
    name = population.removesuffix(HNL_SUFFIX)
    if population.endswith(HNL_SUFFIX):
        return f"{name}, HNL decay products"
    return f"{name}, all: {_selection(name)}"


def _selection(name: str) -> str:
    return str(SELECTIONS[name]).replace("pT", "$p_T$")


def _grid(
    parts: dict[str, pd.DataFrame],
    variables: Sequence[str],
    title: str,
    quantity: str,
    styles: dict[str, dict[str, str]],
) -> Figure:
    """A row of panels per part, a column per variable, and a colour per method."""
    height = max(2.1, 0.36 * len(styles))  # [in]; the numbers at the right take 24 points each
    figure = Figure(figsize=(10.2, 1.3 + height * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), len(variables), sharex="col", squeeze=False)
    for line, (name, rows) in zip(panels, parts.items(), strict=True):
        for axes, variable in zip(line, variables, strict=True):
            _panel(axes, rows[rows.variable == variable], styles)
            axes.set_ylabel(quantity, fontsize=9)
        line[0].set_title(name, fontsize=9.5, pad=5)
        for i, row in enumerate(rows[rows.variable == OVERALL].itertuples()):
            line[-1].annotate(
                f"{styles[row.method]['name']}\n{_with_interval(row)}",
                (1, 1),
                (8, -24 * i),
                xycoords="axes fraction",
                textcoords="offset points",
                va="top",
                fontsize=8,
                color=styles[row.method]["color"],
                annotation_clip=False,
            )
    for axes, variable in zip(panels[-1], variables, strict=True):
        axes.set_xlabel(AXIS_NAMES[variable])
        _set_scale(axes, variable)
    legend_below(figure, panels.flat)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, styles: dict[str, dict[str, str]]) -> None:
    """A point per bin and method: its bar is the interval, its width the bin.

    The points of a bin stand side by side, for those of two methods are often equal, and in a
    narrow one each is smaller than those it covers. The axis shows the intervals of the bins with
    entries enough, and all values.
    """
    sizes = np.linspace(5, 3.5, len(styles)), np.linspace(1.8, 0.9, len(styles))
    for i, (method, style) in enumerate(styles.items()):
        part = rows[rows.method == method]
        place = part.bin_low + (part.bin_high - part.bin_low) * (i + 1) / (len(styles) + 1)
        axes.errorbar(
            place,
            part.value,
            _bars(part.value, part.low, part.high),
            _bars(place, part.bin_low, part.bin_high),
            color=style["color"],
            marker=style["marker"],
            ls="none",
            ms=sizes[0][i],
            elinewidth=sizes[1][i],
            zorder=3 + i,
            label=style["name"],
        )
    if rows.empty:
        return
    sure = rows[rows.total >= min(_FEW, rows.total.max())]
    low, high = min([*rows.value, *sure.low]), max([*rows.value, *sure.high])
    margin = 0.06 * max(high - low, 0.01)
    axes.set_ylim(low - margin, high + margin)


def _set_scale(axes: Axes, variable: str) -> None:
    """Scale and ticks of a column: logarithmic; of radii the root, for their narrow first bins."""
    if variable not in _TICKS:
        return
    if "radius" in variable:
        axes.set_xlim(left=0)
        axes.set_xscale("function", functions=(_signed_root, _signed_square))
    else:
        axes.set_xscale("log")
    axes.set_xticks(_TICKS[variable], [f"{tick:g}" for tick in _TICKS[variable]])
    axes.set_xticks([], minor=True)


def _signed_root(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sqrt(np.abs(x))


def _signed_square(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.square(x)


def _with_interval(row: tuple) -> str:
    """'0.9865' above '[0.9833, 0.9891]'."""
    if pd.isna(row.value):
        return "-"
    return f"{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]"


def _bars(value: Sequence[float], low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Lengths (2, n) of error bars; 0 where there is no interval."""
    value, low, high = (np.asarray(numbers, dtype=float) for numbers in (value, low, high))
    return np.nan_to_num(np.clip([value - low, high - value], 0, None))
