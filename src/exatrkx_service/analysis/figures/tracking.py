"""Figures of how well track finders find tracks: efficiencies, rates, and efficiency for time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.figures.style import RC, empty_figure, method_styles
from exatrkx_service.analysis.physics.populations import HNL_SUFFIX, POPULATIONS, SELECTIONS
from exatrkx_service.analysis.physics.table import EFFICIENCY, OVERALL

AXIS_NAMES = {
    "production_radius": "production radius [mm]",
    "pt": "transverse momentum [GeV]",
    "eta": "pseudorapidity",
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


@rc_context(RC)
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
    )
    for axes in figure.axes:
        bottom = axes.get_ylim()[0]
        axes.set_ylim(bottom, 1 + 0.04 * (1 - bottom))
    return figure


@rc_context(RC)
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
    )
    for axes in figure.axes:
        axes.set_ylim(0, max(0.01, axes.get_ylim()[1]))
    return figure


@rc_context(RC)
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
    figure = Figure(figsize=(9.4, 4.6), layout="constrained")
    panels = figure.subplots(1, len(SELECTIONS), sharex=True, sharey=True)
    styles = method_styles(physics.method)
    for axes, name in zip(panels, SELECTIONS, strict=True):
        for suffix, face in ((HNL_SUFFIX, None), ("", "white")):
            for row in rows[rows.population == name + suffix].itertuples():
                time, style = times.loc[row.method], styles[row.method]
                axes.errorbar(
                    time.value,
                    row.value,
                    _bars([row.value], [row.low], [row.high]),
                    _bars([time.value], [time.low], [time.high]),
                    color=style["color"],
                    marker=style["marker"],
                    mfc=face,
                    ms=8,
                    lw=1.3,
                    capsize=3,
                    label=style["name"] if face is None else None,
                )
        axes.set_title(f"{name}: {_selection(name)}", fontsize=10)
        axes.set_xlabel("mean time per event [ms]")
    _set_time_scale(panels[0], times.value, times.high.fillna(times.value))
    panels[0].set_ylim(top=1 + 0.03 * (1 - rows.low.min()))
    panels[0].set_ylabel(f"technical efficiency, {confidence_level:.0%} intervals")
    for face, text in ((None, "HNL decay products"), ("white", "all particles")):
        panels[-1].plot([], [], "o", color="#555555", mfc=face, ms=8, label=text)
    figure.legend(*_legend(panels), loc="outside lower center", ncols=4)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    return figure


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


def _grid(parts: dict[str, pd.DataFrame], variables: Sequence[str], title: str) -> Figure:
    """A row of panels per part, a column per variable, and a colour per method."""
    figure = Figure(figsize=(10.2, 1.3 + 2.1 * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), len(variables), sharex="col", squeeze=False)
    styles = method_styles(pd.concat(parts.values()).method)
    for line, (name, rows) in zip(panels, parts.items(), strict=True):
        for axes, variable in zip(line, variables, strict=True):
            _panel(axes, rows[rows.variable == variable], styles)
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
    figure.legend(*_legend(panels.flat), loc="outside lower center", ncols=4)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, styles: dict[str, dict[str, str]]) -> None:
    """A point per bin and method: its bar is the interval, its width the bin.

    The points of a bin stand side by side, for those of two methods are often equal. The axis
    shows the intervals of the bins with entries enough, and all values.
    """
    for i, (method, style) in enumerate(styles.items(), start=1):
        part = rows[rows.method == method]
        place = part.bin_low + (part.bin_high - part.bin_low) * i / (len(styles) + 1)
        axes.errorbar(
            place,
            part.value,
            _bars(part.value, part.low, part.high),
            _bars(place, part.bin_low, part.bin_high),
            color=style["color"],
            marker=style["marker"],
            ls="none",
            ms=4,
            elinewidth=1.1,
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


def _legend(panels: Iterable[Axes]) -> tuple[list, list]:
    """Each label of the panels once."""
    entries = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return list(entries.values()), list(entries)
