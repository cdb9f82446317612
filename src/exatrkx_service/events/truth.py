"""Space points and the particles behind them, from the tables that ACTS writes.

A table goes with its file, which messages name. Columns are called as ACTS calls them; the five
fields of a barcode are there in any case, beside ``particle_id`` where a file has them in one
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import UNUSED_MEASUREMENT, Event, cylindrical
from exatrkx_service.events.files import BARCODE_COLUMNS
from exatrkx_service.events.particles import particle_table
from exatrkx_service.events.tables import require
from exatrkx_service.events.units import require_gev, require_millimetres

File = tuple[Path, pd.DataFrame]  # and its rows


@dataclass(frozen=True)
class Truth:
    """Files that say which particles made the space points of an event.

    Attributes:
        particles: ``particle_type``, ``vx``, …, ``q`` and the barcode.
        hits: the barcode of the particle that made each, and ``hit_id`` where hits have ids of
            their own; otherwise these are the numbers of the rows, from 0.
        links: ``measurement_id`` and ``hit_id``, each pair that belongs together.
        hnl: barcode and ``particle_type`` of the decay products of the HNL; None: not known.
        complete: whether ``particles`` are all that made hits. If not, hits of others belong to
            a particle that is not known.
    """

    particles: File
    hits: File
    links: File
    hnl: File | None = None
    complete: bool = True


def space_points(
    file: File, once: Sequence[str], xyz: Sequence[str] = ("x", "y", "z")
) -> np.ndarray:
    """Space points of a file: float32 (N, 3), as of ``Event``.

    Args:
        file: with the columns ``xyz`` and those that the next argument names.
        once: columns that are together different in each row; the first is the id of the first
            measurement.
        xyz: names of the columns with the positions [mm].

    Raises:
        EventFormatError: a space point has no measurement or is there twice, a position doesn't
            fit into float32, or the unit is another than mm.
    """
    path, table = file
    unused = table[once[0]].to_numpy() == UNUSED_MEASUREMENT
    require(path, once[0], ~unused, "the id of a measurement", table)
    require(path, once[0], ~table.duplicated(once).to_numpy(), "each space point once", table)
    points = cylindrical(*(table[name].to_numpy() for name in xyz))
    for name, column in ((xyz[0], 0), (xyz[2], 2)):
        good = np.isfinite(points[:, column])
        require(path, name, good, "a position [mm] that fits into float32", table)
    require_millimetres(path, points)
    return points


def event_with_truth(event_id: int, points: np.ndarray, clusters: File, truth: Truth) -> Event:
    """An event, of which the particles are known.

    A space point belongs to the particle that contributed to each of its measurements; if there
    is not exactly one such particle its ``particle_index`` is -1 (merged clusters of several
    particles, or two strips hit by different ones).

    Args:
        event_id: number of the event.
        points: its space points, as of ``Event``.
        clusters: ids of the measurements of each, in one column or two;
            ``UNUSED_MEASUREMENT`` in the second where there is one measurement.
        truth: the files.

    Raises:
        EventFormatError: an id is there twice, a reference points nowhere, a particle has no
            transverse momentum, or the unit is another than GeV.
    """
    files = [truth.particles, truth.hits, *([] if truth.hnl is None else [truth.hnl])]
    particles, hits, *hnl = (pd.Index(codes) for codes in _barcodes([table for _, table in files]))
    from_hnl = _from_hnl(truth, particles, *hnl)
    index = _particle_index(clusters, truth, _particle_of_hit(truth, particles, hits))
    fields = (truth.particles[1][name].tolist() for name in BARCODE_COLUMNS)
    ids = ["|".join(map(str, barcode)) for barcode in zip(*fields, strict=True)]
    table = truth.particles[1].rename(columns={"particle_type": "pdg", "q": "charge"})
    return Event(event_id, points, index, particle_table(table, ids, index, from_hnl))


def _barcodes(tables: Sequence[pd.DataFrame]) -> list[np.ndarray]:
    """A number for each row of the tables, equal where the barcodes are: int64 (rows,) of each."""
    codes = np.zeros(sum(map(len, tables)), dtype=np.int64)
    for name in BARCODE_COLUMNS:
        field = np.concatenate([table[name].to_numpy() for table in tables])
        if (int(codes.max(initial=0)) + 1) * (int(field.max(initial=0)) + 1) >= 2**63:
            codes, field = (np.unique(values, return_inverse=True)[1] for values in (codes, field))
        codes = codes * (int(field.max(initial=0)) + 1) + field.astype(np.int64)
    return np.split(codes, np.cumsum([len(table) for table in tables])[:-1])


def _barcode_column(table: pd.DataFrame) -> str:
    """The column in the file, for messages."""
    return "particle_id" if "particle_id" in table else BARCODE_COLUMNS[0]


def _require_once(file: File, barcodes: pd.Index) -> None:
    path, table = file
    require(path, _barcode_column(table), ~barcodes.duplicated(), "each particle once", table)


def _from_hnl(truth: Truth, particles: pd.Index, hnl: pd.Index | None = None) -> np.ndarray:
    """Checks the particles; which are from the HNL: bool (rows,)."""
    path, table = truth.particles
    _require_once(truth.particles, particles)
    pt = np.hypot(table["px"], table["py"]).to_numpy()
    require(path, "px", pt > 0, "a transverse momentum above 0", table)
    require_gev(path, table)

    from_hnl = np.zeros(len(table), dtype=bool)
    if truth.hnl is not None:
        hnl_path, products = truth.hnl
        _require_once(truth.hnl, hnl)
        row = particles.get_indexer(hnl)
        types = table["particle_type"].to_numpy()
        same = (row < 0) | (types[row] == products["particle_type"].to_numpy())
        expected = f"the type of this particle in {path.name}"
        require(hnl_path, "particle_type", same, expected, products)
        from_hnl[row[row >= 0]] = True
    return from_hnl


def _particle_of_hit(truth: Truth, particles: pd.Index, made_by: pd.Index) -> np.ndarray:
    """Row of the particle that made each hit, beyond the last for one that is not known."""
    path, hits = truth.hits
    particle = particles.get_indexer(made_by)
    if truth.complete:
        expected = f"a particle of the {_kind(truth.particles[0])} file"
        require(path, _barcode_column(hits), particle >= 0, expected, hits)
    unknown = particle < 0
    # Each its own number: a cluster of two of them is not one particle's.
    others = made_by[unknown]
    particle[unknown] = len(particles) + others.unique().get_indexer(others)
    return particle


def _kind(path: Path) -> str:
    return path.name.partition("-")[2].removesuffix(".gz").removesuffix(".csv")


def _hit_of_link(truth: Truth) -> np.ndarray:
    """Row of the hit of each link."""
    path, links = truth.links
    hits_path, hits = truth.hits
    hit_id = links["hit_id"].to_numpy()
    if "hit_id" not in hits:
        expected = f"a row of {hits_path.name}, which has {len(hits)}"
        require(path, "hit_id", hit_id < np.uint64(len(hits)), expected, links)
        return hit_id.astype(np.int64)
    once = ~hits.duplicated("hit_id").to_numpy()
    require(hits_path, "hit_id", once, "each hit once", hits)
    row = pd.Index(hits["hit_id"]).get_indexer(hit_id)
    require(path, "hit_id", row >= 0, f"a hit of {hits_path.name}", links)
    return row


def _particle_index(clusters: File, truth: Truth, particle_of_hit: np.ndarray) -> np.ndarray:
    """Row of the particle of each space point, or -1: int64 (N,)."""
    path, links = truth.links
    links = pd.DataFrame(
        {
            "measurement": links["measurement_id"],
            "particle": particle_of_hit[_hit_of_link(truth)],
        }
    ).drop_duplicates()

    points_path, measured = clusters
    known = pd.Index(links["measurement"].unique())
    contributions = []
    n_clusters = np.zeros(len(measured), dtype=np.int64)
    for name in measured:
        ids = measured[name].to_numpy()
        used = ids != UNUSED_MEASUREMENT
        good = ~used | (known.get_indexer(ids) >= 0)
        require(points_path, name, good, f"a measurement of {path.name}", measured)
        n_clusters += used
        points = pd.DataFrame({"point": np.flatnonzero(used), "measurement": ids[used]})
        points = points.merge(links, on="measurement")
        contributions.append(points[["point", "particle"]].to_numpy(np.int64))
    # A particle made a space point if it is in each of the point's clusters.
    point, particle = np.concatenate(contributions).T
    span = 1 + particle.max(initial=0)
    pairs, counts = np.unique(point * span + particle, return_counts=True)
    point, particle = np.divmod(pairs, span)
    complete = counts == n_clusters[point]
    point, particle = point[complete], particle[complete]
    index = np.full(len(measured), -1, dtype=np.int64)
    index[point] = particle
    index[np.bincount(point, minlength=len(measured)) > 1] = -1
    index[index >= len(truth.particles[1])] = -1
    return index
