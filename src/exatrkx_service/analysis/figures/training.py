"""Figures of the training: learning curves, and what the cuts keep."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.figures.style import STAGE_NAMES, from_zero, legend_below, own_style

_ALL, _HNL, _PURITY, _EDGES = "#0072B2", "#D55E00", "#009E73", "#8C8C8C"
_VALIDATION = "#AA3377"
_EFFICIENCIES = {
    "edge_efficiency": ("true edges", _ALL),
    "edge_efficiency_hnl": ("true edges of HNL decay products", _HNL),
}
_TECHNICAL = {
    "technical_efficiency": ("particles", _ALL),
    "technical_efficiency_hnl": ("HNL decay products", _HNL),
}
# Stage, and what is cut; both without a unit.
_CUTS = {
    "radius": ("building", "radius in the embedding space"),
    "filter_cut": ("filtering", "lowest score of the filter"),
    "gnn_cut": ("gnn", "lowest score, connected components"),
    "walk_cut": ("gnn", "lowest score, walk-through"),
}
_LOSSES = {"embedding": "loss [false edges per true edge]"}  # of the others the cross entropy


@own_style
def learning_curves(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss, and efficiency and purity of edges on the validation events, after every epoch.

    Args:
        curves: by stage, see ``models.training.CURVE_COLUMNS``.
    """
    figure = Figure(figsize=(3.4 * len(curves), 8.0), layout="constrained")
    grid = figure.subplots(3, len(curves), squeeze=False, sharex="col")
    for (losses, missed, purity), (stage, curve) in zip(grid.T, curves.items(), strict=True):
        losses.set_title(STAGE_NAMES[stage])
        for sample, colour in (("training", _EDGES), ("validation", _VALIDATION)):
            loss = curve[f"{sample}_loss"]
            losses.plot(curve.epoch, loss, color=colour, marker=".", label=f"{sample} loss")
        losses.set_ylabel(_LOSSES.get(stage, "loss [cross entropy]"))
        for column, (name, colour) in _EFFICIENCIES.items():
            if curve[column].notna().any():
                missed.plot(curve.epoch, 1 - curve[column], color=colour, marker=".", label=name)
        purity.plot(curve.epoch, curve.edge_purity, color=_PURITY, marker=".")
        missed.set_yscale("log")
        missed.set_ylabel("share of true edges missed")
        purity.set_ylabel("edge purity")
        for axes in (losses, purity):
            from_zero(axes)
        purity.set_xlabel("epoch")
        purity.xaxis.get_major_locator().set_params(integer=True)
        best = curve.epoch[curve.validation_loss.idxmin()]
        for axes in (losses, missed, purity):
            axes.axvline(best, color="#111111", lw=0.8, ls=":", label="best epoch")
    legend_below(figure, grid.flat)
    return figure


@own_style
def efficiency_vs_cut(cuts: pd.DataFrame) -> Figure:
    """What each cut keeps of the validation events, each behind the cuts chosen before it.

    Args:
        cuts: see ``analysis.cuts.CUTS_COLUMNS``.
    """
    n_rows = math.ceil(cuts.cut.nunique() / 2)
    figure = Figure(figsize=(9.4, 0.4 + 3.4 * n_rows), layout="constrained")
    for i, (cut, rows) in enumerate(cuts.groupby("cut", sort=False), start=1):
        axes = figure.add_subplot(n_rows, 2, i)
        stage, meaning = _CUTS[cut]
        _draw(axes, rows, _EFFICIENCIES, "-")
        _draw(axes, rows, _TECHNICAL, "--")
        chosen = rows.value[rows.chosen].iloc[0]
        axes.set_title(f"after {STAGE_NAMES[stage]}; chosen: {chosen:g}")
        axes.set_xlabel(f"{meaning} ({cut})")
        axes.set_ylabel("efficiency")
        if cut == "filter_cut":
            axes.set_xscale("log")
        axes.axvline(chosen, color="#111111", lw=0.8, ls=":", label="chosen")
        twin = axes.twinx()
        twin.plot(rows.value, rows.edges_per_event, color=_EDGES, lw=1.2)
        from_zero(twin)
        twin.grid(False)
        twin.spines["right"].set_visible(True)
        twin.set_ylabel("edges per event (grey)", color="#666666")
    legend_below(figure, figure.axes)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, columns: Mapping[str, tuple[str, str]], ls: str) -> None:
    for column, (name, colour) in columns.items():
        if rows[column].notna().any():
            axes.plot(rows.value, rows[column], color=colour, ls=ls, lw=1.6, label=name)
