"""Display of one event: space points, found tracks, and where the heavy neutral lepton decayed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from exatrkx_service.analysis.figures.style import empty_figure, own_style
from exatrkx_service.events.event import Event
from exatrkx_service.tracking import in_populations, match_tracks

DISPLACED_MM = 30.0  # a decay beyond this radius [mm] is displaced: it misses the innermost layer
# Decays here [mm] are seen best: displaced, inside the barrel, with layers left to cross.
BEST_RADIUS_MM = (100.0, 300.0)
BEST_ABS_Z_MM = 500.0
_POINT = {"color": "#A3ABB4", "s": 6, "lw": 0}
_TRACK_COLOUR = "#A9CBE8"
_HNL_COLOURS = [
    *("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#AA3377", "#7A4A1E", "#0072B2", "#999933"),
]
_STAR = {"marker": "*", "ms": 17, "mfc": "#F7D002", "mec": "black", "mew": 1.0, "ls": "none"}


@own_style
def event_display(truth: Sequence[Event], tracks: pd.DataFrame) -> Figure:
    """One event in r-z and x-y: its space points, the tracks found, and the HNL's decay vertex.

    The event is that with most of the HNL's decay products of population A found, of several the
    one with the fewest space points; among those whose vertex lies where it is seen best, see
    ``BEST_RADIUS_MM``, or else among all with a displaced one.

    Args:
        truth: the sample, with truth.
        tracks: what a method found in it, see ``physics.Method``.

    Returns:
        The figure; where no event has a displaced decay of an HNL, one that says so.
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
        return empty_figure("One event", "The sample has no displaced decay of an HNL.")

    def order(event: Event) -> tuple[bool, int, int]:
        x, y, z = decays[event.event_id]
        best = abs(z) < BEST_ABS_Z_MM and BEST_RADIUS_MM[0] < np.hypot(x, y) < BEST_RADIUS_MM[1]
        return best, len(_matched(event, found.get(event.event_id, nothing))), -len(event)

    event = max(displaced, key=order)
    mine = found.get(event.event_id, nothing)
    return _draw(event, flights[event.event_id], mine, _matched(event, mine))


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


def _matched(event: Event, tracks: pd.DataFrame) -> dict[int, int]:
    """The HNL's decay products of population A that were found: track by row of the particle."""
    wanted = np.flatnonzero(in_populations(event.particles)["A_hnl"])
    match = match_tracks(tracks, event.particle_index)
    match = match[(match["state"] == "matched") & match["particle"].isin(wanted)]
    return dict(zip(match["particle"], match["track"], strict=True))


def _draw(
    event: Event, flight: np.ndarray, tracks: pd.DataFrame, matched: dict[int, int]
) -> Figure:
    r, phi, z = event.space_points.astype(np.float64).T
    x, y = r * np.cos(phi), r * np.sin(phi)
    flight_r = np.hypot(flight[:, 0], flight[:, 1])
    flight_x, flight_y, flight_z = flight.T
    lines = _lines(event, tracks)
    colours = dict(zip(matched.values(), cycle(_HNL_COLOURS)))

    figure = Figure(figsize=(10.2, 9.6), layout="constrained")
    panels = figure.subplot_mosaic([["along", "along"], ["across", "near"]], height_ratios=[0.8, 1])
    for name, (first, second), path in (
        ("along", (z, r), (flight_z, flight_r)),
        ("across", (x, y), (flight_x, flight_y)),
        ("near", (x, y), (flight_x, flight_y)),
    ):
        axes = panels[name]
        axes.grid(visible=False)
        axes.scatter(first, second, **_POINT, zorder=3, rasterized=True)
        for track, points in lines.items():
            if track not in colours:
                axes.plot(first[points], second[points], color=_TRACK_COLOUR, lw=0.8, zorder=2)
        for track, colour in colours.items():
            points = lines[track]
            axes.plot(first[points], second[points], "o-", color=colour, lw=2, ms=3.5, zorder=4)
            start = points[0]
            begin = [path[0][1], first[start]], [path[1][1], second[start]]
            axes.plot(*begin, color=colour, lw=1.4, ls=(0, (2, 1.5)), zorder=4)
        axes.plot(*path, color="black", lw=1.3, ls=(0, (4, 2)), zorder=5)
        axes.plot(path[0][0], path[1][0], "+", color="black", ms=9, mew=1.4, zorder=6)
        axes.plot(path[0][1], path[1][1], **_STAR, zorder=7)
    panels["along"].set(xlabel="z [mm]", ylabel="r [mm]", ylim=(-15, None))
    for name, reach in (("across", 1.05 * r.max()), ("near", 2.3 * flight_r[1])):
        panels[name].set(xlabel="x [mm]", ylabel="y [mm]", aspect="equal")
        panels[name].locator_params(nbins=5)
        panels[name].set(xlim=(-reach, reach), ylim=(-reach, reach))
    panels["along"].set_title(
        f"Event {event.event_id}: {len(event):,} space points, {len(lines)} tracks; "
        f"an HNL decays {flight_r[1]:.0f} mm from the beam"
    )
    panels["across"].set_title("across the beam", fontsize=10, fontweight="normal")
    panels["near"].set_title("the same, near the decay", fontsize=10, fontweight="normal")
    wanted = int(in_populations(event.particles)["A_hnl"].sum())
    figure.legend(
        handles=[
            Line2D([], [], label="HNL decay vertex", **_STAR),
            Line2D([], [], color="black", ls=(0, (4, 2)), label="flight of the HNL"),
            Line2D(
                *([], []),
                **{"color": _HNL_COLOURS[0], "marker": "o", "ms": 3.5, "lw": 2},
                label=f"tracks of its decay products: {len(matched)} of {wanted} found",
            ),
            Line2D([], [], color=_TRACK_COLOUR, label="other tracks"),
            Line2D(
                [], [], color=_POINT["color"], marker="o", ms=3, ls="none", label="space points"
            ),
        ],
        loc="outside lower center",
        ncols=5,
        fontsize=9,
    )
    return figure


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
