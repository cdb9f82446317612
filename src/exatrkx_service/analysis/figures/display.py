"""Display of one event: space points, found tracks, and where a heavy neutral lepton decayed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from exatrkx_service.analysis.figures.style import own_style
from exatrkx_service.events.event import Event
from exatrkx_service.tracking import in_populations, match_tracks

DISPLACED_MM = 30.0  # a decay beyond this radius [mm] is displaced: it misses the innermost layer
# Decays here [mm] are seen best: displaced, inside the barrel, with layers left to cross.
BEST_RADIUS_MM = (100.0, 300.0)
BEST_ABS_Z_MM = 500.0
_POINT = {"color": "#A3ABB4", "s": 6, "lw": 0}
_TRACK_COLOUR = "#A9CBE8"
_A_COLOUR = "#0072B2"
_HNL_COLOURS = [
    *("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#AA3377", "#7A4A1E", "#0072B2", "#999933"),
]
_STAR = {"marker": "*", "ms": 17, "mfc": "#F7D002", "mec": "black", "mew": 1.0, "ls": "none"}


@own_style
def event_display(truth: Sequence[Event], tracks: pd.DataFrame) -> Figure:
    """One event in r-z and x-y: its space points, the tracks found, and an HNL's decay vertex.

    The event is that with most of the HNL's decay products of population A found, of several the
    one with the fewest space points; among those whose vertex lies where it is seen best, see
    ``BEST_RADIUS_MM``, or else among all with a displaced one. Where there is none, the event is
    that with the most particles of population A, of those with tracks.

    Args:
        truth: the sample, with truth; at least one event.
        tracks: what a method found in it, see ``physics.Method``.
    """
    found = dict(iter(tracks.groupby("event")))
    nothing = tracks.iloc[:0]
    flights = {e.event_id: hnl_flight(e) for e in truth}
    decays = {number: flight[1] for number, flight in flights.items() if flight is not None}
    displaced = [
        e
        for e in truth
        if e.event_id in decays and np.hypot(*decays[e.event_id][:2]) > DISPLACED_MM
    ]
    if not displaced:
        event = max(truth, key=lambda e: (e.event_id in found, _n_particles(e, "A"), -len(e)))
        return _draw(event, None, found.get(event.event_id, nothing))

    def order(event: Event) -> tuple[bool, int, int]:
        x, y, z = decays[event.event_id]
        best = abs(z) < BEST_ABS_Z_MM and BEST_RADIUS_MM[0] < np.hypot(x, y) < BEST_RADIUS_MM[1]
        matched = _matched(event, found.get(event.event_id, nothing), "A_hnl")
        return best, len(matched), -len(event)

    event = max(displaced, key=order)
    return _draw(event, flights[event.event_id], found.get(event.event_id, nothing))


def hnl_flight(event: Event) -> np.ndarray | None:
    """Where the HNL was made and where it decayed; None for an event without its decay products.

    Of the production vertices of its decay products the decay is the one nearest to the collision:
    what flies on and decays again does so further out. The collision is where the prompt particles
    of the same one start, or the origin if there are none.

    Returns:
        float64 (2, 3): x, y, z [mm] of the collision and of the decay.
    """
    particles = event.particles
    from_hnl = particles["from_hnl"].to_numpy(dtype=bool)
    if not from_hnl.any():
        return None
    r, phi, z = (particles[name].to_numpy() for name in ("vr", "vphi", "vz"))
    vertices = np.column_stack([r * np.cos(phi), r * np.sin(phi), z])
    # The first two fields of a barcode: the collision, and 0 for what starts at it.
    collision = particles["particle_id"][from_hnl].iloc[0].split("|")[0]
    prompt = particles["particle_id"].str.startswith(f"{collision}|0|").to_numpy(dtype=bool)
    begin = vertices[prompt][0] if prompt.any() else np.zeros(3)
    ends = vertices[from_hnl]
    return np.stack([begin, ends[np.linalg.norm(ends - begin, axis=1).argmin()]])


def _n_particles(event: Event, population: str) -> int:
    return int(in_populations(event.particles)[population].sum())


def _matched(event: Event, tracks: pd.DataFrame, population: str) -> dict[int, int]:
    """The particles of a population that were found: track by row of the particle."""
    wanted = np.flatnonzero(in_populations(event.particles)[population])
    match = match_tracks(tracks, event.particle_index)
    match = match[(match["state"] == "matched") & match["particle"].isin(wanted)]
    return dict(zip(match["particle"], match["track"], strict=True))


def _draw(event: Event, flight: np.ndarray | None, tracks: pd.DataFrame) -> Figure:
    """The event; with the flight of an HNL its decay products stand out, else the particles of A.

    Args:
        event: with truth.
        flight: see ``hnl_flight``, or None.
        tracks: those that were found in it.
    """
    r, phi, z = event.space_points.astype(np.float64).T
    x, y = r * np.cos(phi), r * np.sin(phi)
    lines = _lines(event, tracks)
    population = "A" if flight is None else "A_hnl"
    matched = _matched(event, tracks, population)
    of_wanted = f"{len(matched)} of {_n_particles(event, population)} found"
    title = f"Event {event.event_id}: {len(event):,} space points, {len(lines)} tracks"
    if flight is None:
        figure = Figure(figsize=(10.2, 5.6), layout="constrained")
        panels = figure.subplot_mosaic([["along", "across"]], width_ratios=[1.3, 1])
        colours = dict.fromkeys(matched.values(), _A_COLOUR)
        look = {"lw": 0.9}
        handles = [
            Line2D([], [], color=_A_COLOUR, **look, label=f"tracks of population A: {of_wanted}")
        ]
    else:
        figure = Figure(figsize=(10.2, 9.6), layout="constrained")
        rows = [["along", "along"], ["across", "near"]]
        panels = figure.subplot_mosaic(rows, height_ratios=[0.8, 1])
        colours = dict(zip(matched.values(), cycle(_HNL_COLOURS)))
        look = {"lw": 2, "marker": "o", "ms": 3.5}
        title += f"; an HNL decays {np.hypot(*flight[1, :2]):.0f} mm from the beam"
        handles = [
            Line2D([], [], label="HNL decay vertex", **_STAR),
            Line2D([], [], color="black", ls=(0, (4, 2)), label="flight of the HNL"),
            Line2D(
                *([], []),
                **{"color": _HNL_COLOURS[0], **look},
                label=f"tracks of its decay products: {of_wanted}",
            ),
        ]
    for name, axes in panels.items():
        place = (z, r) if name == "along" else (x, y)
        _panel(axes, place, lines, colours, look)
        if flight is not None:
            starts = [(lines[track][0], colour) for track, colour in colours.items()]
            _flight(axes, _seen(flight, name), place, starts)
    panels["along"].set(xlabel="z [mm]", ylabel="r [mm]", ylim=(-15, None))
    reaches = {"across": 1.05 * r.max()}
    if flight is not None:
        reaches["near"] = 2.3 * np.hypot(*flight[1, :2])
        panels["near"].set_title("the same, near the decay", fontsize=10, fontweight="normal")
    for name, reach in reaches.items():
        panels[name].set(xlabel="x [mm]", ylabel="y [mm]", aspect="equal")
        panels[name].locator_params(nbins=5)
        panels[name].set(xlim=(-reach, reach), ylim=(-reach, reach))
    panels["along"].set_title(title)
    panels["across"].set_title("across the beam", fontsize=10, fontweight="normal")
    handles += [
        Line2D([], [], color=_TRACK_COLOUR, label="other tracks"),
        Line2D([], [], color=_POINT["color"], marker="o", ms=3, ls="none", label="space points"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9)
    return figure


def _panel(
    axes: Axes,
    place: tuple[np.ndarray, np.ndarray],
    lines: dict[int, np.ndarray],
    colours: dict[int, str],
    look: dict[str, Any],
) -> None:
    """Space points and tracks, those with a colour above the others."""
    first, second = place
    axes.grid(visible=False)
    axes.scatter(first, second, **_POINT, zorder=3, rasterized=True)
    for track, points in lines.items():
        if track not in colours:
            axes.plot(first[points], second[points], color=_TRACK_COLOUR, lw=0.8, zorder=2)
    for track, colour in colours.items():
        points = lines[track]
        axes.plot(first[points], second[points], color=colour, **look, zorder=4)


def _seen(flight: np.ndarray, panel: str) -> np.ndarray:
    """The flight [mm] as a panel shows it: float64 (2, 2), by axis, of the collision and decay."""
    x, y, z = flight.T
    return np.stack([z, np.hypot(x, y)] if panel == "along" else [x, y])


def _flight(
    axes: Axes,
    path: np.ndarray,
    place: tuple[np.ndarray, np.ndarray],
    starts: list[tuple[int, str]],
) -> None:
    """The HNL's flight, its decay, and from there to the first space points of its tracks."""
    for point, colour in starts:
        begin = [path[0][1], place[0][point]], [path[1][1], place[1][point]]
        axes.plot(*begin, color=colour, lw=1.4, ls=(0, (2, 1.5)), zorder=4)
    axes.plot(*path, color="black", lw=1.3, ls=(0, (4, 2)), zorder=5)
    axes.plot(path[0][0], path[1][0], "+", color="black", ms=9, mew=1.4, zorder=6)
    axes.plot(path[0][1], path[1][1], **_STAR, zorder=7)


def _lines(event: Event, tracks: pd.DataFrame) -> dict[int, np.ndarray]:
    """The space points of every track, from the innermost one outwards along the track."""
    points = event.space_points.astype(np.float64)
    r, phi, z = points.T
    place = np.column_stack([r * np.cos(phi), r * np.sin(phi), z])
    lines = {}
    for track, rows in tracks.groupby("track"):
        members = rows["space_point"].to_numpy()
        start = place[members[r[members].argmin()]]
        lines[track] = members[np.linalg.norm(place[members] - start, axis=1).argsort()]
    return lines
