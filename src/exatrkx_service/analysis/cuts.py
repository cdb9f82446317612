"""Choice of the working point on validation events: radius, filter cut and GNN cut, in this order.

* ``radius``: the smallest with which building keeps ``TARGETS["radius"]`` of the true edges of HNL
  decay products in the population A.
* ``filter_cut``: the largest with which the filter still keeps ``TARGETS["filter_cut"]`` of them.
* ``gnn_cut`` and ``walk_cut``, each with its labeling: the one with the highest mean of the
  technical efficiencies for all particles and for HNL decay products; of equal ones the largest.

The targets are a little higher than what is wanted, 0.995 and 0.985, for 100 validation events have
statistical errors of 0.0015 and 0.0025. The HNL's edges decide because they are few and lost first:
a cut that keeps 98 % of all true edges keeps 86 % of theirs. In a sample without HNLs all decide.
Definitions: ``tracking``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from torch import nn

from exatrkx_service.events.event import Event
from exatrkx_service.events.reader import read_event
from exatrkx_service.models.data import TrainingEvent, to_training_event
from exatrkx_service.models.features import orient_edges
from exatrkx_service.models.graphs import edge_metrics, edge_scores, embed
from exatrkx_service.models.networks import NETWORKS
from exatrkx_service.models.weights import load_network
from exatrkx_service.pipeline.building import build_edges
from exatrkx_service.pipeline.labeling import label_tracks, label_walks
from exatrkx_service.tracking import in_populations, match_tracks, to_tracks

TARGETS = {"radius": 0.996, "filter_cut": 0.987}
RADII = np.linspace(0.5, 1.2, 29)  # in units of the radius of the training
FILTER_CUTS = np.array([1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100, 200, 300]) / 1000
GNN_CUTS = np.arange(1, 20) / 20
LABELINGS = {"gnn_cut": label_tracks, "walk_cut": label_walks}  # by the cut that each has
CUTS_COLUMNS = (
    "cut",
    "value",
    "edges_per_event",
    "edge_efficiency",
    "edge_efficiency_hnl",
    "edge_purity",
    "technical_efficiency",
    "technical_efficiency_hnl",
    "chosen",
)

EDGE_COLUMNS = CUTS_COLUMNS[2:6]


def scan_cuts(
    events: Mapping[int, Path],
    weights: Path,
    training_radius: float,
    k_max: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Scans the three cuts, each behind those chosen before it.

    Args:
        events: folder of each validation event, with truth, by its number.
        weights: folder with the three trained networks.
        training_radius: radius that they were trained with; the scan goes from half of it to 1.2
            times it, for beyond it the edges get many.
        k_max: at most this many neighbours per point.
        device: ``cpu`` or ``cuda``.

    Returns:
        One row per cut and value, with ``CUTS_COLUMNS``: the edges that pass, as
        ``models.graphs.edge_metrics`` (of HNL decay products those in A), the technical
        efficiencies (for the cuts of the labelings alone) and whether the value is the one chosen.

    Raises:
        WeightsError: a network cannot be used.
        EventFormatError: an event is missing or malformed.
    """
    sample = [read_event(folder, number) for number, folder in events.items()]
    truth = [_truth(event) for event in sample]
    networks = {
        stage: load_network(Path(weights) / f"{stage}.safetensors", stage).to(device)
        for stage in NETWORKS
    }

    radii = training_radius * RADII
    built, nearness = [], []
    for event in truth:
        points = embed(networks["embedding"], event)
        edges = build_edges(points, radii[-1], k_max, device)
        built.append(orient_edges(*map(torch.from_numpy, (event.space_points, edges))).numpy())
        nearness.append(-np.linalg.norm(points[edges[0]] - points[edges[1]], axis=1))
    radius = _choose(_scan("radius", radii, truth, built, nearness, sign=-1))
    built = _passing(built, nearness, -_value(radius))

    filter_scores = _scores(networks["filtering"], truth, built)
    filter_cut = _choose(_scan("filter_cut", FILTER_CUTS, truth, built, filter_scores))
    filtered = _passing(built, filter_scores, _value(filter_cut))

    gnn_scores = _scores(networks["gnn"], truth, filtered)
    tables = [radius, filter_cut]
    for cut, label in LABELINGS.items():
        table = _scan(cut, GNN_CUTS, truth, filtered, gnn_scores)
        tracks = [
            _technical_efficiency(sample, filtered, gnn_scores, label, value)
            for value in table.value
        ]
        tables.append(_choose(table.assign(**pd.DataFrame(tracks))))
    return pd.concat(tables).reindex(columns=CUTS_COLUMNS)


def working_point(table: pd.DataFrame, weights: str, n_events: int) -> tuple[str, list[str]]:
    """The cuts chosen as an overlay of the configuration.

    Args:
        table: from ``scan_cuts``.
        weights: folder of the networks, as the configuration is to name it.
        n_events: number of validation events.

    Returns:
        The overlay (YAML) with the reasons as comments, and one line for each target missed.
    """
    rows = table[table.chosen].set_index("cut")
    hnl = rows.edge_efficiency_hnl.notna().all()
    column, population = ("edge_efficiency_hnl", "HNL") if hnl else ("edge_efficiency", "all")
    reasons, missed = [], []
    for cut, target in TARGETS.items():
        efficiency, edges = rows.loc[cut, column], rows.loc[cut, "edges_per_event"]
        text = (
            f"{cut}: edge efficiency ({population}) {efficiency:.4f}, {edges:.0f} edges per event"
        )
        if efficiency < target:
            missed.append(f"{text}: the target of {target} is missed, this is the best of the scan")
        reasons.append(missed[-1] if efficiency < target else f"{text}; target {target}")
    for cut in LABELINGS:
        efficiency = rows.loc[cut, ["technical_efficiency", "technical_efficiency_hnl"]]
        shown = ", ".join(efficiency.map("{:.4f}".format))
        reasons.append(f"{cut}: technical efficiency (all, HNL) {shown}: the best mean")
    lines = [
        f"# Chosen on {n_events} validation events by `snakemake train`, for these networks alone.",
        f"# Use: --configfile [overlays of the training] {weights}/working_point.yaml",
        *(f"# {reason}" for reason in reasons),
    ]
    cuts = {cut: float(row.value) for cut, row in rows.iterrows()}
    overlay = yaml.safe_dump({"pipeline": {"weights": weights} | cuts}, sort_keys=False)
    return "\n".join(lines) + "\n" + overlay, missed


def _truth(event: Event) -> TrainingEvent:
    """With the decay products in the population A as those of the HNL."""
    truth = to_training_event(event)
    judged = np.append(in_populations(event.particles)["A_hnl"], False)  # the last entry serves -1
    return replace(truth, from_hnl=judged[truth.particle])


def _scan(
    cut: str,
    values: Iterable[float],
    truth: list[TrainingEvent],
    edges: list[np.ndarray],
    scores: list[np.ndarray],
    sign: int = 1,
) -> pd.DataFrame:
    """Metrics of the edges whose score reaches ``sign * value``, one row per value, ascending."""
    rows = []
    for value in (float(f"{value:.4g}") for value in values):
        found = zip(truth, _passing(edges, scores, sign * value), strict=True)
        rows.append({"cut": cut, "value": value} | edge_metrics(found))
    return pd.DataFrame(rows).astype(dict.fromkeys(EDGE_COLUMNS, float))


def _passing(
    edges: list[np.ndarray], scores: list[np.ndarray], threshold: float
) -> list[np.ndarray]:
    pairs = zip(edges, scores, strict=True)
    return [some[:, score >= threshold] for some, score in pairs]


def _scores(
    network: nn.Module, truth: list[TrainingEvent], edges: list[np.ndarray]
) -> list[np.ndarray]:
    return [edge_scores(network, *pair) for pair in zip(truth, edges, strict=True)]


def _choose(table: pd.DataFrame) -> pd.DataFrame:
    """Marks the value chosen of one cut, by the rules above; the best where a target is missed."""
    cut = table.cut.iloc[0]
    if cut in LABELINGS:
        quality = table[["technical_efficiency", "technical_efficiency_hnl"]].mean(axis=1)
    else:
        hnl = table.edge_efficiency_hnl
        quality = (table.edge_efficiency if hnl.isna().all() else hnl).clip(upper=TARGETS[cut])
    best = np.flatnonzero(quality >= quality.max())
    if not len(best):
        raise ValueError(f"{cut}: no true edges or particles in the validation events to choose by")
    place = best[0] if cut == "radius" else best[-1]
    return table.assign(chosen=np.arange(len(table)) == place)


def _value(table: pd.DataFrame) -> float:
    return float(table.value[table.chosen].iloc[0])


def _technical_efficiency(
    sample: list[Event],
    edges: list[np.ndarray],
    scores: list[np.ndarray],
    label: Callable[..., np.ndarray],
    cut: float,
) -> dict[str, float]:
    """Of a labeling for the population A; NaN where there are no particles."""
    matched, hnl = [], []
    for event, some, score in zip(sample, edges, scores, strict=True):
        labels = label(len(event), some, score, cut)
        candidates = match_tracks(to_tracks(labels, event.event_id), event.particle_index)
        rows = candidates.particle[candidates.state == "matched"]
        found = np.isin(np.arange(len(event.particles)), rows)
        populations = in_populations(event.particles)
        matched.append(found[populations["A"]])
        hnl.append(found[populations["A_hnl"]])
    means = [float(np.mean(a)) if len(a) else np.nan for a in map(np.concatenate, (matched, hnl))]
    return dict(zip(("technical_efficiency", "technical_efficiency_hnl"), means, strict=True))
