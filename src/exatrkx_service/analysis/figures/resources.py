"""What an allocation pays: CPU time and memory of clients and server."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exatrkx_service.analysis.figures.style import empty_figure, legend_below, own_style
from exatrkx_service.options import option_order

SIDES = {"client": ("clients", "#56B4E9"), "server": ("server", "#D55E00")}
_WIDTH = 0.8  # of a bar


@own_style
def resources(summary: pd.DataFrame) -> Figure:
    """CPU time per event and memory of each option, one bar per number of clients.

    Args:
        summary: see ``summary.summarise``.
    """
    title = "What clients and server use"
    valid = summary.dropna(subset="client_cpu_ms")
    if valid.empty:
        return empty_figure(title, "No option has valid samples.")
    options = option_order(valid.option)
    groups = {option: valid[valid.option == option] for option in options}
    # Bars stand side by side within an option, and a gap apart between options.
    places, middles, end = [], [], 0.0
    for rows in groups.values():
        places += [end + i for i in range(len(rows))]
        middles.append(end + (len(rows) - 1) / 2)
        end += len(rows) + 0.8
    table = pd.concat([rows.sort_values("concurrency") for rows in groups.values()])

    figure = Figure(figsize=(max(6.5, 1.6 + 0.36 * end), 6.4), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    _stack(panels[0], places, table, "cpu_ms")
    panels[0].set_ylabel("CPU time per event [ms]")
    _stack(panels[1], places, table, "pss_mib")
    panels[1].set_ylabel("peak memory (PSS) [MiB]")
    panels[1].set_xticks(places, [str(c) for c in table.concurrency], fontsize=8)
    panels[1].set_xlabel("number of clients, by service option")
    for middle, option in zip(middles, options, strict=True):
        panels[0].annotate(
            option,
            (middle, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
        )
    panels[0].set_title(title, pad=20)
    legend_below(figure, panels[:1])
    return figure


def _stack(axes: Axes, places: list[float], table: pd.DataFrame, quantity: str) -> None:
    """The clients' bar with the server's on it; what was not measured has none."""
    bottom = np.zeros(len(table))
    for side, (name, colour) in SIDES.items():
        height = table[f"{side}_{quantity}"].fillna(0).to_numpy(dtype=float)
        axes.bar(places, height, _WIDTH, bottom, color=colour, label=name)
        bottom += height
    axes.set_ylim(0, 1.06 * bottom.max() or 1)
    axes.grid(axis="x", visible=False)
