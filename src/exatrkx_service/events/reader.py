"""Read the events of a sample folder: ACTS CSV files and the truth file ``hnl`` beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import UNUSED_MEASUREMENT, Event, Measurements
from exatrkx_service.events.files import BARCODE_COLUMNS, HNL_FILE, event_file
from exatrkx_service.events.tables import read_table, require
from exatrkx_service.events.units import require_gev, require_millimetres

# What ACTS writes as the local_key of a measurement of local0 and local1: bits 1 and 2, as a byte.
LOCAL_KEY = "\x06"
_BARCODE = dict.fromkeys(BARCODE_COLUMNS, np.uint64)
_COLUMNS = {
    "spacepoint": {
        "measurement_id_1": np.uint64,
        "measurement_id_2": np.uint64,
        **dict.fromkeys(("x", "y", "z"), np.float64),
    },
    "particles_simulated": {
        **_BARCODE,
        "particle_type": np.int64,
        **dict.fromkeys(("vx", "vy", "vz", "px", "py", "pz", "q"), np.float64),
    },
    "hits": _BARCODE,
    "measurements": {
        "measurement_id": np.uint64,
        "geometry_id": np.uint64,
        "local_key": str,
        **dict.fromkeys(("local0", "local1", "var_local0", "var_local1"), np.float64),
    },
    "measurement-simhit-map": {"measurement_id": np.uint64, "hit_id": np.uint64},
    HNL_FILE: {**_BARCODE, "particle_type": np.int64},
}


def read_space_points(folder: Path, event_id: int) -> np.ndarray:
    """Space points of one event; needs no truth.

    Returns:
        float32 (N, 3): r [mm], phi [rad, in (-pi, pi]], z [mm], in the order of the file.
        N is 0 for an event without space points.

    Raises:
        EventFormatError: the file is missing or malformed.
    """
    return _space_points(Path(folder), event_id)[0]


def read_measurements(folder: Path, event_id: int) -> Measurements:
    """Measurements of one event and what its space points were made from; needs no truth.

    Local coordinates in another unit than mm can't be told here, but where the surfaces are
    known: ``baseline.measurements``.

    Raises:
        EventFormatError: a file is missing or malformed, a measurement is not of both local
            coordinates, or a space point has a measurement that is not there.
    """
    folder = Path(folder)
    path, table = _read(folder, event_id, "measurements")
    rows = table["measurement_id"].to_numpy() == np.arange(len(table))
    require(path, "measurement_id", rows, "the number of the row, from 0", table)
    both = (table["local_key"] == LOCAL_KEY).to_numpy()
    expected = "the byte 0x06, by which ACTS says that local0 and local1 were measured"
    require(path, "local_key", both, expected, table)
    for name in ("var_local0", "var_local1"):
        require(path, name, (table[name] > 0).to_numpy(), "a variance [mm²] above 0", table)
    points, clusters = _space_points(folder, event_id)
    for name in clusters:
        ids = clusters[name].to_numpy()
        good = (ids < np.uint64(len(table))) | (ids == UNUSED_MEASUREMENT)
        expected = f"a row of {path.name}, which has {len(table)}"
        require(event_file(folder, event_id, "spacepoint"), name, good, expected, clusters)
    return Measurements(
        table.drop(columns=["measurement_id", "local_key"]), clusters.to_numpy(), points
    )


def read_event(folder: Path, event_id: int) -> Event:
    """One event with its truth.

    A space point belongs to the particle that contributed to each of its measurements; if there
    is not exactly one such particle its ``particle_index`` is -1 (merged clusters of several
    particles, or two strips hit by different ones). The space points, the map and the particles
    may be in any order: they are matched by their ids. The rows of the hits file are what the
    map's ``hit_id`` counts, so their order has a meaning.

    The ``hnl`` file may list particles that were not simulated (Fatras drops those below its
    momentum cut). It has only a header where there is no HNL, and is required in any case.

    Raises:
        EventFormatError: a file is missing or malformed, an id is duplicated, or a reference
            points nowhere; the message names the file, the column and the line.
    """
    folder = Path(folder)
    points, clusters = _space_points(folder, event_id)
    particles, barcodes = _particles(folder, event_id)
    particle_index = _particle_index(folder, event_id, clusters, barcodes)
    matched = particle_index[particle_index >= 0]
    particles["n_space_points"] = np.bincount(matched, minlength=len(particles)).astype(np.int64)
    return Event(event_id, points, particle_index, particles)


def _read(folder: Path, event_id: int, kind: str) -> tuple[Path, pd.DataFrame]:
    path = event_file(folder, event_id, kind)
    return path, read_table(path, kind, _COLUMNS[kind])


def _space_points(folder: Path, event_id: int) -> tuple[np.ndarray, pd.DataFrame]:
    path, table = _read(folder, event_id, "spacepoint")
    ids = ["measurement_id_1", "measurement_id_2"]
    unused = table[ids[0]].to_numpy() == UNUSED_MEASUREMENT
    require(path, ids[0], ~unused, "the id of a measurement", table)
    require(path, ids[0], ~table.duplicated(ids).to_numpy(), "each space point once", table)
    x, y, z = (table[name].to_numpy() for name in "xyz")
    with np.errstate(over="ignore"):
        points = np.column_stack([np.hypot(x, y), np.arctan2(y, x), z]).astype(np.float32)
    for name, column in (("x", 0), ("z", 2)):
        good = np.isfinite(points[:, column])
        require(path, name, good, "a position [mm] that fits into float32", table)
    require_millimetres(path, points)
    # arctan2 gives -pi for y = -0.0: the same direction as pi.
    points[points[:, 1] <= -np.float32(np.pi), 1] = np.float32(np.pi)
    return points, table[ids]


def _particles(folder: Path, event_id: int) -> tuple[pd.DataFrame, pd.MultiIndex]:
    path, table = _read(folder, event_id, "particles_simulated")
    columns = list(BARCODE_COLUMNS)
    require(path, columns[0], ~table.duplicated(columns).to_numpy(), "each particle once", table)
    pt = np.hypot(table["px"], table["py"]).to_numpy()
    require(path, "px", pt > 0, "a transverse momentum above 0", table)
    require_gev(path, table)
    barcodes = pd.MultiIndex.from_frame(table[columns])

    hnl_path, hnl = _read(folder, event_id, HNL_FILE)
    require(hnl_path, columns[0], ~hnl.duplicated(columns).to_numpy(), "each particle once", hnl)
    row = barcodes.get_indexer(pd.MultiIndex.from_frame(hnl[columns]))
    same = (row < 0) | (table["particle_type"].to_numpy()[row] == hnl["particle_type"].to_numpy())
    require(hnl_path, "particle_type", same, f"the type of this particle in {path.name}", hnl)
    from_hnl = np.zeros(len(table), dtype=bool)
    from_hnl[row[row >= 0]] = True

    particles = pd.DataFrame(
        {
            "particle_id": ["|".join(map(str, fields)) for fields in barcodes],
            "pdg": table["particle_type"],
            "charge": table["q"],
            "pt": pt,
            "eta": np.arcsinh(table["pz"] / pt),
            "phi": np.arctan2(table["py"], table["px"]),
            "vr": np.hypot(table["vx"], table["vy"]),
            "vphi": np.arctan2(table["vy"], table["vx"]),
            "vz": table["vz"],
            "from_hnl": from_hnl,
        }
    )
    return particles, barcodes


def _particle_index(
    folder: Path, event_id: int, clusters: pd.DataFrame, barcodes: pd.MultiIndex
) -> np.ndarray:
    """Row of the particle of each space point, or -1: int64 (N,)."""
    hits_path, hits = _read(folder, event_id, "hits")
    particle_of_hit = barcodes.get_indexer(pd.MultiIndex.from_frame(hits))
    require(
        hits_path,
        BARCODE_COLUMNS[0],
        particle_of_hit >= 0,
        "a particle of the particles_simulated file",
        hits,
    )
    path, links = _read(folder, event_id, "measurement-simhit-map")
    hit = links["hit_id"].to_numpy()
    expected = f"a row of {hits_path.name}, which has {len(hits)}"
    require(path, "hit_id", hit < np.uint64(len(hits)), expected, links)
    links = pd.DataFrame(
        {"measurement": links["measurement_id"], "particle": particle_of_hit[hit]}
    ).drop_duplicates()

    space_point_path = event_file(folder, event_id, "spacepoint")
    known = pd.Index(links["measurement"].unique())
    contributions = []
    n_clusters = np.zeros(len(clusters), dtype=np.int64)
    for name in clusters:
        ids = clusters[name].to_numpy()
        used = ids != UNUSED_MEASUREMENT
        good = ~used | (known.get_indexer(ids) >= 0)
        require(space_point_path, name, good, f"a measurement of {path.name}", clusters)
        n_clusters += used
        points = pd.DataFrame({"point": np.flatnonzero(used), "measurement": ids[used]})
        contributions.append(points.merge(links, on="measurement")[["point", "particle"]])
    # A particle made a space point if it is in each of the point's clusters.
    counts = pd.concat(contributions).value_counts(sort=False)
    point = counts.index.get_level_values("point").to_numpy()
    particle = counts.index.get_level_values("particle").to_numpy()
    complete = counts.to_numpy() == n_clusters[point]
    point, particle = point[complete], particle[complete]
    index = np.full(len(clusters), -1, dtype=np.int64)
    index[point] = particle
    index[np.bincount(point, minlength=len(clusters)) > 1] = -1
    return index
