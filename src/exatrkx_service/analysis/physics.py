"""How well the pipeline finds tracks: edges after each stage, and tracks at the end.

Definitions after Exa.TrkX, Eur. Phys. J. C 81, 876 (2021),
https://doi.org/10.1140/epjc/s10052-021-09675-8, and the TrackML challenge, arXiv:1904.06778:

* True edge: two consecutive space points of one particle.
* Edge efficiency: true edges found / true edges. Edge purity: true edges found / edges found.
* Track candidate: at least three space points with the same label.
* Double majority: a candidate and a particle match if more than half of the candidate's space
  points come from the particle, and more than half of the particle's space points are in the
  candidate. Each has at most one match.
* Technical efficiency: matched / all reconstructable particles; reconstructable are charged
  particles above a transverse momentum that left enough space points.
* Track purity: matched / all candidates; a candidate may match any particle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from exatrkx_service.events.event import Event
from exatrkx_service.models.data import to_training_event
from exatrkx_service.pipeline.tensors import to_numpy

MIN_POINTS = 3  # space points of a track candidate, and of a reconstructable particle
MIN_PT_GEV = 0.5  # transverse momentum of a reconstructable particle [GeV]
EDGE_STAGES = ("building", "filtering", "gnn")


def count_true_edges(edges: np.ndarray, truth_edges: np.ndarray, n_points: int) -> int:
    """Number of true edges among ``edges``; directions and repetitions do not count.

    Args:
        edges: int64 (2, E).
        truth_edges: int64 (2, T).
        n_points: number of space points of the event.
    """
    return len(np.intersect1d(_edge_keys(edges, n_points), _edge_keys(truth_edges, n_points)))


def _edge_keys(edges: np.ndarray, n_points: int) -> np.ndarray:
    return edges.min(axis=0) * n_points + edges.max(axis=0)


@dataclass(frozen=True)
class TrackMatch:
    """Which candidates and particles match by double majority.

    Attributes:
        n_candidates: number of track candidates.
        particles: int64 (M,): rows of the particles that a candidate matches, ascending. As many
            candidates are matched.
    """

    n_candidates: int
    particles: np.ndarray


def match_tracks(labels: np.ndarray, particle_index: np.ndarray) -> TrackMatch:
    """Matches track candidates to particles by double majority.

    Args:
        labels: int64 (N,): label of each space point's track, -1 for none.
        particle_index: int64 (N,): row of the particle that made each space point, -1 for none.

    Raises:
        ValueError: the arrays differ in length.
    """
    if len(labels) != len(particle_index):
        raise ValueError(f"{len(labels)} labels, expected {len(particle_index)}: one per point")
    table = pd.DataFrame({"label": labels, "particle": particle_index})
    particle_size = table.groupby("particle").size()
    labelled = table[table["label"] >= 0]
    track_size = labelled.groupby("label").size()
    track_size = track_size[track_size >= MIN_POINTS]
    shared = labelled[labelled["particle"] >= 0].value_counts().reset_index(name="shared")
    shared = shared[shared["label"].isin(track_size.index)]
    majority_of_track = 2 * shared["shared"] > shared["label"].map(track_size)
    majority_of_particle = 2 * shared["shared"] > shared["particle"].map(particle_size)
    matched = shared.loc[majority_of_track & majority_of_particle, "particle"]
    return TrackMatch(len(track_size), np.sort(matched.to_numpy(dtype=np.int64)))


def reconstructable(particles: pd.DataFrame) -> np.ndarray:
    """Bool (P,): charged, pT above 0.5 GeV and at least three space points.

    Args:
        particles: ``Event.particles``.
    """
    enough = particles["n_space_points"] >= MIN_POINTS
    selected = (particles["charge"] != 0) & (particles["pt"] > MIN_PT_GEV) & enough
    return selected.to_numpy()


def count_event(event: Event, tensors: Mapping[str, Any], gnn_cut: float) -> dict[str, int]:
    """Counts edges and tracks of one event that went through the pipeline.

    Args:
        event: the event with its truth.
        tensors: ``edges``, ``filtered_edges``, ``edge_scores`` and ``labels`` as the stages give
            them (numpy arrays or CPU tensors).
        gnn_cut: score below which labeling ignores an edge.

    Returns:
        Per stage of ``EDGE_STAGES`` the number of edges ``edges_<stage>`` and of true ones
        ``true_<stage>``, and ``hnl_<stage>`` of those that belong to HNL decay products; true
        edges ``truth``, ``truth_hnl``; particles ``reconstructable``, ``matched`` (and
        ``..._hnl``); ``candidates`` and ``candidates_matched``.
    """
    names = ("edges", "filtered_edges", "edge_scores", "labels")
    built, filtered, scores, labels = (to_numpy(tensors[name]) for name in names)
    truth_event = to_training_event(event)
    truth = truth_event.truth_edges
    truth_hnl = truth[:, truth_event.from_hnl[truth[0]]]
    row = {"truth": truth.shape[1], "truth_hnl": truth_hnl.shape[1]}
    found = (built, filtered, filtered[:, scores >= gnn_cut])
    for stage, edges in zip(EDGE_STAGES, found, strict=True):
        row[f"edges_{stage}"] = edges.shape[1]
        row[f"true_{stage}"] = count_true_edges(edges, truth, len(event))
        row[f"hnl_{stage}"] = count_true_edges(edges, truth_hnl, len(event))

    match = match_tracks(labels, event.particle_index)
    wanted = reconstructable(event.particles)
    wanted_hnl = wanted & event.particles["from_hnl"].to_numpy()
    return row | {
        "reconstructable": int(wanted.sum()),
        "reconstructable_hnl": int(wanted_hnl.sum()),
        "matched": int(wanted[match.particles].sum()),
        "matched_hnl": int(wanted_hnl[match.particles].sum()),
        "candidates": match.n_candidates,
        "candidates_matched": len(match.particles),
    }


def tracking_performance(
    found: Iterable[tuple[Event, Mapping[str, Any]]], gnn_cut: float
) -> dict[str, dict[str, float | None]]:
    """Efficiencies and purities of a sample, with 95 % intervals.

    Args:
        found: events, each with its tensors as for ``count_event``.
        gnn_cut: score below which labeling ignores an edge.

    Returns:
        For each ratio its ``value``, the bounds ``low`` and ``high`` of its Wilson score interval
        (all three None where nothing was counted), and the counts ``passed`` and ``total``.
    """
    return summarise(pd.DataFrame([count_event(event, t, gnn_cut) for event, t in found]))


def summarise(counts: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Adds up the counts of ``count_event``, one row per event, and divides them.

    Returns:
        As ``tracking_performance``.
    """
    ratios = {
        "technical efficiency": ("matched", "reconstructable"),
        "technical efficiency, HNL": ("matched_hnl", "reconstructable_hnl"),
        "track purity": ("candidates_matched", "candidates"),
    }
    for stage in EDGE_STAGES:
        ratios[f"edge efficiency after {stage}"] = (f"true_{stage}", "truth")
        ratios[f"edge efficiency after {stage}, HNL"] = (f"hnl_{stage}", "truth_hnl")
        ratios[f"edge purity after {stage}"] = (f"true_{stage}", f"edges_{stage}")
    sums = counts[[*{name for pair in ratios.values() for name in pair}]].sum()
    return {name: _ratio(int(sums[k]), int(sums[n])) for name, (k, n) in ratios.items()}


def _ratio(passed: int, total: int) -> dict[str, float | None]:
    if total == 0:
        return {"value": None, "low": None, "high": None, "passed": passed, "total": total}
    interval = binomtest(passed, total).proportion_ci(0.95, method="wilson")
    bounds = {"low": float(interval.low), "high": float(interval.high)}
    return {"value": passed / total} | bounds | {"passed": passed, "total": total}
