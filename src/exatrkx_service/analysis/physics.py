"""The table of tracking performance: efficiencies, rates and times with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from exatrkx_service.analysis.summary import quantiles
from exatrkx_service.analysis.timings import NS_PER_MS
from exatrkx_service.events.event import Event
from exatrkx_service.measure.estimate import plain_mean
from exatrkx_service.tracking.edges import EDGE_STAGES
from exatrkx_service.tracking.matching import STATES, match_tracks
from exatrkx_service.tracking.method import Method, MethodError, check_events
from exatrkx_service.tracking.populations import (
    ALL_PARTICLES,
    HNL_SUFFIX,
    POPULATIONS,
    SELECTIONS,
    in_populations,
)

# For people who read the numbers without the package; it has the definitions in full.
DEFINITIONS = (
    "True edges join consecutive space points of one particle. A candidate is a track of at least "
    "3 space points; it matches a particle if each holds more than half of the other's points "
    "(double majority). Technical efficiency: matched over all particles of a population. Purity: "
    "matched over all candidates; the others are duplicates (another candidate matches the "
    "particle of most of its points), fragments (none does) and fakes (there is no such particle). "
    + " ".join(f"Population {name}: {selection}." for name, selection in SELECTIONS.items())
    + " Intervals are Wilson score intervals."
)
PHYSICS_COLUMNS = [
    *("method", "population", "quantity", "variable", "bin_low", "bin_high"),
    *("value", "low", "high", "passed", "total"),
]
OVERALL = "overall"
EFFICIENCY = "technical_efficiency"
# The rate of each state of a candidate.
RATES = {"matched": "purity", **{state: f"{state}_rate" for state in STATES[1:]}}
TIMES = ("time_mean_ms", "time_p50_ms", "time_p95_ms")
# Edges of the bins. Those in radius lie between the barrel's layers, so that all particles of a
# bin can cross the same ones.
PARTICLE_BINS = {
    "pt": [0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 100],
    "eta": [-4, -3, -2, -1, 0, 1, 2, 3, 4],
    "production_radius": [0, 1, 30, 70, 115, 170, 260, 360, 500, 1000],
    "n_space_points": [3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 50],
}
CANDIDATE_BINS = {
    "eta": PARTICLE_BINS["eta"],
    "inner_radius": [0, 50, 90, 140, 210, 310, 430, 580, 1100],
    "n_space_points": PARTICLE_BINS["n_space_points"],
}


def physics_table(
    events: Sequence[Event],
    methods: Mapping[str, Method],
    *,
    confidence_level: float,
) -> pd.DataFrame:
    """Tracking performance of every method, overall and differentially.

    A ratio is the sum of the counts of all events over the sum of their totals. Its interval is
    Wilson's score interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927); scipy.stats); that
    of a mean time is Student's, over events.

    Args:
        events: the sample, with truth.
        methods: the results of each method by its name.
        confidence_level: of the intervals, between 0 and 1.

    Returns:
        One row per method, population, quantity and bin, with the columns ``PHYSICS_COLUMNS``.
        Quantities: ``technical_efficiency`` (populations ``POPULATIONS``); ``purity``,
        ``duplicate_rate``, ``fragment_rate``, ``fake_rate`` (population ``candidates``);
        ``edge_efficiency_<stage>`` (``ALL_PARTICLES`` and ``POPULATIONS``) and
        ``edge_purity_<stage>`` (``all``) for methods with edges; ``time_mean_ms``,
        ``time_p50_ms``, ``time_p95_ms`` (population ``events``). ``variable`` is ``overall``, or
        what the bins are in: for particles ``pt`` [GeV], ``eta``, ``production_radius`` [mm] and
        ``n_space_points``; for candidates ``n_space_points``, and ``inner_radius`` [mm] and
        ``eta`` of the innermost space point, seen from the origin. A bin holds its lower edge;
        those without entries are left out, and what lies beyond the outermost edges is in
        ``overall`` alone. ``passed`` and ``total`` are counts; of times ``total`` is the number
        of events, 0 for a method without times. Without entries, ``value``, ``low`` and ``high``
        are NaN; so are quantiles of too few events, see ``summary.quantiles``.

    Raises:
        MethodError: the results of a method are not those of the events.
        ValueError: there are no events.
    """
    if not events:
        raise ValueError("physics: no events; expected at least 1")
    rows = []
    for name, method in methods.items():
        check_events(name, method, list(events))
        particles, candidates = _match_all(name, method, events)
        parts = [
            *_efficiencies(particles, confidence_level),
            *_rates(candidates, confidence_level),
            *([] if method.edges is None else _edge_ratios(method.edges, confidence_level)),
            *_times(method.times, confidence_level),
        ]
        rows += [{"method": name} | row for row in parts]
    table = pd.DataFrame(rows).reindex(columns=PHYSICS_COLUMNS)
    counts = ["passed", "total"]
    table[counts] = table[counts].astype("Int64")
    return table


def _match_all(
    name: str, method: Method, events: Sequence[Event]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The particles of all populations, with ``found``, and the candidates of all events."""
    by_event = dict(iter(method.tracks.groupby("event")))
    nothing = method.tracks.iloc[:0]
    all_particles, all_candidates = [], []
    for event in events:
        tracks = by_event.get(event.event_id, nothing)
        try:
            candidates = match_tracks(tracks, event.particle_index)
        except ValueError as error:
            raise MethodError(f"method {name}: event {event.event_id}: {error}") from None
        matched = candidates.loc[candidates["state"] == "matched", "particle"]
        particles = event.particles[["pt", "eta", "n_space_points"]].assign(
            production_radius=event.particles["vr"], **in_populations(event.particles)
        )
        particles["found"] = np.isin(np.arange(len(particles)), matched)
        all_particles.append(particles[particles[list(POPULATIONS)].any(axis=1)])
        all_candidates.append(candidates.merge(_innermost(tracks, event), on="track"))
    return pd.concat(all_particles), pd.concat(all_candidates)


def _innermost(tracks: pd.DataFrame, event: Event) -> pd.DataFrame:
    """Radius [mm] and pseudorapidity of the innermost space point of every track."""
    points = tracks["space_point"].to_numpy()
    r, z = (event.space_points[points, column].astype(np.float64) for column in (0, 2))
    table = pd.DataFrame(
        {"track": tracks["track"].to_numpy(), "inner_radius": r, "eta": np.arcsinh(z / r)}
    )
    return table.sort_values("inner_radius", kind="stable").drop_duplicates("track")


def _efficiencies(particles: pd.DataFrame, level: float) -> Iterator[dict[str, Any]]:
    for population in POPULATIONS:
        rows = particles[particles[population]]
        for ratio in _ratios(rows, rows["found"], PARTICLE_BINS, level):
            yield {"population": population, "quantity": EFFICIENCY} | ratio


def _rates(candidates: pd.DataFrame, level: float) -> Iterator[dict[str, Any]]:
    for state, rate in RATES.items():
        for ratio in _ratios(candidates, candidates["state"] == state, CANDIDATE_BINS, level):
            yield {"population": "candidates", "quantity": rate} | ratio


def _edge_ratios(edges: pd.DataFrame, level: float) -> Iterator[dict[str, Any]]:
    sums = edges.groupby(["stage", "population"])[["n_edges", "n_true", "n_found"]].sum()
    for stage in EDGE_STAGES:
        for population in (*ALL_PARTICLES, *POPULATIONS):
            row = sums.loc[stage, population]
            quantity = {"population": population, "quantity": f"edge_efficiency_{stage}"}
            yield quantity | _ratio(row.n_found, row.n_true, level)
        row = sums.loc[stage, "all"]
        quantity = {"population": "all", "quantity": f"edge_purity_{stage}"}
        yield quantity | _ratio(row.n_found, row.n_edges, level)


def _times(times: pd.DataFrame, level: float) -> Iterator[dict[str, Any]]:
    per_event = times.groupby("event").duration_ns.sum().to_numpy() / NS_PER_MS
    q = quantiles(per_event)
    numbers = plain_mean(per_event, level), (q[50],), (q[95],)
    for quantity, values in zip(TIMES, numbers, strict=True):
        row = dict(zip(("value", "low", "high"), values, strict=False))
        row |= {"population": "events", "quantity": quantity, "variable": OVERALL}
        yield row | {"total": len(per_event)}


def _ratios(
    rows: pd.DataFrame, passed: pd.Series, bins: Mapping[str, list[float]], level: float
) -> Iterator[dict[str, Any]]:
    """The ratio of all rows, then that of each bin of each variable that is not empty."""
    yield _ratio(passed.sum(), len(rows), level)
    for variable, edges in bins.items():
        total, _ = np.histogram(rows[variable], edges)
        found, _ = np.histogram(rows.loc[passed.to_numpy(), variable], edges)
        for i in np.flatnonzero(total):
            place = {"variable": variable, "bin_low": edges[i], "bin_high": edges[i + 1]}
            yield _ratio(found[i], total[i], level) | place


def _ratio(passed: int, total: int, level: float) -> dict[str, Any]:
    passed, total = int(passed), int(total)
    row = {"variable": OVERALL, "passed": passed, "total": total}
    if total == 0:
        return row
    interval = binomtest(passed, total).proportion_ci(level, method="wilson")
    return row | {"value": passed / total, "low": interval.low, "high": interval.high}


def tracking_performance(table: pd.DataFrame, method: str) -> dict[str, dict[str, float | None]]:
    """The overall ratios of one method, for people to read.

    Args:
        table: from ``physics_table``.
        method: name of the method.

    Returns:
        For each ratio ``value``, ``low`` and ``high`` (None where nothing was counted), and the
        counts ``passed`` and ``total``; under names such as
        'technical efficiency, A, HNL decay products'.

    Raises:
        MethodError: the table has no such method.
    """
    rows = table[(table["method"] == method) & (table["variable"] == OVERALL)]
    if rows.empty:
        known = ", ".join(table["method"].unique()) or "none"
        raise MethodError(f"method {method}: not in the table, which has {known}")
    rows = rows[~rows["quantity"].isin(TIMES)]
    return {
        _title(row.quantity, row.population): {
            **{k: _number(getattr(row, k)) for k in ("value", "low", "high")},
            **{k: int(getattr(row, k)) for k in ("passed", "total")},
        }
        for row in rows.itertuples()
    }


def _number(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def _title(quantity: str, population: str) -> str:
    text = quantity.replace("_", " ")
    for stage in EDGE_STAGES:
        text = text.replace(f" {stage}", f" after {stage}")
    if population == "candidates":
        return text
    name = population.removesuffix(HNL_SUFFIX).replace("all", "all particles")
    return f"{text}, {name}" + (", HNL decay products" * population.endswith(HNL_SUFFIX))
