"""Figures of the training: learning curves, and what the cuts keep."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.figures.style import RC, STAGE_NAMES

_ALL, _HNL, _PURITY, _EDGES = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
_EFFICIENCIES = {"edge_efficiency": ("edges", _ALL), "edge_efficiency_hnl": ("HNL edges", _HNL)}
_TECHNICAL = {
    "technical_efficiency": ("particles", _ALL),
    "technical_efficiency_hnl": ("HNL decay products", _HNL),
}
_STAGE_OF_CUT = {"radius": "building", "filter_cut": "filtering"}  # any other: gnn


@rc_context(RC)
def learning_curves(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss, and efficiency and purity of edges on the validation events, after every epoch.

    Args:
        curves: by stage, see ``models.training.CURVE_COLUMNS``.
    """
    figure = Figure(figsize=(3.9 * len(curves), 8.0), layout="constrained")
    grid = figure.subplots(3, len(curves), squeeze=False, sharex="col")
    for (losses, missed, purity), (stage, curve) in zip(grid.T, curves.items(), strict=True):
        losses.set_title(STAGE_NAMES[stage])
        losses.plot(curve.epoch, curve.training_loss, color=_EDGES, marker=".", label="training")
        losses.plot(curve.epoch, curve.validation_loss, color=_ALL, marker=".", label="validation")
        for column, (name, colour) in _EFFICIENCIES.items():
            if curve[column].notna().any():
                missed.plot(curve.epoch, 1 - curve[column], color=colour, marker=".", label=name)
        purity.plot(curve.epoch, curve.edge_purity, color=_PURITY, marker=".")
        missed.set_yscale("log")
        for axes in (losses, purity):
            axes.set_ylim(bottom=0)
        purity.set_xlabel("epoch")
        purity.xaxis.get_major_locator().set_params(integer=True)
        best = curve.epoch[curve.validation_loss.idxmin()]
        for axes in (losses, missed, purity):
            axes.axvline(best, color="#111111", lw=0.8, ls=":", label="best epoch")
    for axes, name in zip(grid[:, 0], ("loss", "true edges missed", "edge purity"), strict=True):
        axes.set_ylabel(name)
    for axes in grid[:2, 0]:
        axes.legend()
    return figure


@rc_context(RC)
def efficiency_vs_cut(cuts: pd.DataFrame) -> Figure:
    """What each cut keeps of the validation events, each behind the cuts chosen before it.

    Args:
        cuts: see ``analysis.cuts.CUTS_COLUMNS``.
    """
    figure = Figure(figsize=(4.2 * cuts.cut.nunique(), 4.4), layout="constrained")
    for axes, (cut, rows) in zip(
        figure.subplots(1, cuts.cut.nunique()), cuts.groupby("cut", sort=False), strict=True
    ):
        _draw(axes, rows, _EFFICIENCIES, "-")
        _draw(axes, rows, _TECHNICAL, "--")
        axes.set_title(f"after {STAGE_NAMES[_STAGE_OF_CUT.get(cut, 'gnn')]}")
        axes.set_xlabel(f"pipeline.{cut}")
        axes.set_ylabel("efficiency")
        if cut == "filter_cut":
            axes.set_xscale("log")
        chosen = rows.value[rows.chosen].iloc[0]
        axes.axvline(chosen, color="#111111", lw=0.8, ls=":", label=f"chosen: {chosen:g}")
        axes.legend()
        twin = axes.twinx()
        twin.plot(rows.value, rows.edges_per_event, color=_EDGES, lw=1.2)
        twin.set_ylim(bottom=0)
        twin.grid(False)
        twin.spines["right"].set_visible(True)
        twin.set_ylabel("edges per event (grey)", color="#666666")
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, columns: Mapping[str, tuple[str, str]], ls: str) -> None:
    for column, (name, colour) in columns.items():
        if rows[column].notna().any():
            axes.plot(rows.value, rows[column], color=colour, ls=ls, lw=1.6, label=name)
