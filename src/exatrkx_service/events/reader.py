"""Read the events of a sample folder: ACTS CSV files and the truth file ``hnl`` beside them."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import Event
from exatrkx_service.events.files import BARCODE_COLUMNS, HNL_FILE, event_file

UNUSED_MEASUREMENT = np.uint64(2**64 - 1)  # measurement_id_2 of a space point with one cluster
_BARCODE = dict.fromkeys(BARCODE_COLUMNS, np.uint64)
_SPACE_POINT = {
    "measurement_id_1": np.uint64,
    "measurement_id_2": np.uint64,
    **dict.fromkeys(("x", "y", "z"), np.float64),
}
_PARTICLE = {
    **_BARCODE,
    "particle_type": np.int64,
    **dict.fromkeys(("vx", "vy", "vz", "px", "py", "pz", "q"), np.float64),
}
_MEASUREMENT = {
    "measurement_id": np.uint64,
    "geometry_id": np.uint64,
    **dict.fromkeys(("local0", "local1", "var_local0", "var_local1"), np.float64),
}
_SIMHIT_MAP = {"measurement_id": np.uint64, "hit_id": np.uint64}


class EventFormatError(ValueError):
    """A file of an event is missing or does not hold what ACTS writes."""


def read_space_points(folder: Path, event_id: int) -> np.ndarray:
    """Space points of one event; needs no truth.

    Returns:
        float32 (N, 3): r [mm], phi [rad, in (-pi, pi]], z [mm], in the order of the file.
        N is 0 for an event without space points.

    Raises:
        EventFormatError: the file is missing or malformed.
    """
    return _space_points(Path(folder), event_id)[0]


def read_measurement_ids(folder: Path, event_id: int) -> np.ndarray:
    """Measurements from which each space point of one event was made; needs no truth.

    The measurements' file is checked as well: ACTS takes its rows for the ids, and reads over
    what it can't read.

    Returns:
        uint64 (N, 2): rows of the measurements, in the order of the space points;
        ``UNUSED_MEASUREMENT`` in the second column where a space point has one measurement.

    Raises:
        EventFormatError: a file is missing or malformed, or a space point has a measurement that
            is not there.
    """
    folder = Path(folder)
    path = event_file(folder, event_id, "measurements")
    measurements = _read_table(path, _MEASUREMENT)
    rows = measurements["measurement_id"].to_numpy() == np.arange(len(measurements))
    _require(path, "measurement_id", rows, "the number of the row, from 0", measurements)
    clusters = _space_points(folder, event_id)[1]
    for name in clusters:
        ids = clusters[name].to_numpy()
        good = (ids < np.uint64(len(measurements))) | (ids == UNUSED_MEASUREMENT)
        expected = f"a row of {path.name}, which has {len(measurements)}"
        _require(event_file(folder, event_id, "spacepoint"), name, good, expected, clusters)
    return clusters.to_numpy()


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


def _read_table(path: Path, columns: dict[str, type]) -> pd.DataFrame:
    """Read some columns of a CSV file with exactly the given types; no value may be missing."""
    if not path.is_file():
        raise EventFormatError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are too long
            # As text: pandas would read a column of ids with one bad value as float64.
            # header=None keeps pandas from renaming a column that is there twice.
            text = pd.read_csv(
                path,
                dtype=str,
                na_filter=False,
                header=None,
                index_col=False,
                encoding="ascii",
                quoting=csv.QUOTE_NONE,
                skip_blank_lines=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EventFormatError(f"{path}: expected comma-separated values: {reason}") from None
    except pd.errors.EmptyDataError:
        raise EventFormatError(f"{path}: empty file, expected a header") from None
    names = text.iloc[0].tolist()
    whole = text.iloc[:, -1].to_numpy() != ""  # pandas fills up rows that are too short
    if not whole.all():
        raise EventFormatError(
            f"{path}: line {int(np.argmin(whole)) + 1}: expected {len(names)} values"
        )
    table = {}
    for name, kind in columns.items():
        if names.count(name) != 1:
            raise EventFormatError(
                f"{path}: column {name}: found {names.count(name)} times, expected once"
            )
        table[name] = _convert(path, name, text[names.index(name)].to_numpy()[1:], kind)
    return pd.DataFrame(table)


def _convert(path: Path, name: str, values: np.ndarray, kind: type) -> np.ndarray:
    """Turn a column of text into uint64, int64 or finite float64, without a detour over floats."""
    integer = kind is not np.float64
    parse = int if integer else float
    limits = np.iinfo(kind) if integer else np.finfo(kind)
    low, high = parse(limits.min), parse(limits.max)  # outside: overflow, a sign, inf or NaN
    numbers = []
    for row, value in enumerate(values):
        try:
            number = parse(value)
            if not low <= number <= high or "_" in value:  # Python reads 1_0 as 10
                raise ValueError
        except ValueError:
            expected = f"an integer ({kind.__name__})" if integer else "a finite number"
            raise EventFormatError(
                f"{path}: line {row + 2}, column {name}: {value!r}, expected {expected}"
            ) from None
        numbers.append(number)
    return np.array(numbers, dtype=kind)


def _require(path: Path, column: str, good: np.ndarray, expected: str, frame: pd.DataFrame) -> None:
    """Raise for the first row that is not good. Line 1 is the header."""
    if not good.all():
        row = int(np.argmin(good))
        raise EventFormatError(
            f"{path}: line {row + 2}, column {column}: {frame[column.split(',')[0]].iloc[row]}, "
            f"expected {expected}"
        )


def _space_points(folder: Path, event_id: int) -> tuple[np.ndarray, pd.DataFrame]:
    path = event_file(folder, event_id, "spacepoint")
    table = _read_table(path, _SPACE_POINT)
    ids = ["measurement_id_1", "measurement_id_2"]
    unused = table[ids[0]].to_numpy() == UNUSED_MEASUREMENT
    _require(path, ids[0], ~unused, "the id of a measurement", table)
    _require(path, ids[0], ~table.duplicated(ids).to_numpy(), "each space point once", table)
    x, y, z = (table[name].to_numpy() for name in "xyz")
    with np.errstate(over="ignore"):
        points = np.column_stack([np.hypot(x, y), np.arctan2(y, x), z]).astype(np.float32)
    for name, column in (("x", 0), ("z", 2)):
        good = np.isfinite(points[:, column])
        _require(path, name, good, "a position [mm] that fits into float32", table)
    # arctan2 gives -pi for y = -0.0: the same direction as pi.
    points[points[:, 1] <= -np.float32(np.pi), 1] = np.float32(np.pi)
    return points, table[ids]


def _particles(folder: Path, event_id: int) -> tuple[pd.DataFrame, pd.MultiIndex]:
    path = event_file(folder, event_id, "particles_simulated")
    table = _read_table(path, _PARTICLE)
    columns = list(BARCODE_COLUMNS)
    _require(path, columns[0], ~table.duplicated(columns).to_numpy(), "each particle once", table)
    pt = np.hypot(table["px"], table["py"]).to_numpy()
    _require(path, "px", pt > 0, "a transverse momentum above 0", table)
    barcodes = pd.MultiIndex.from_frame(table[columns])

    hnl_path = event_file(folder, event_id, HNL_FILE)
    hnl = _read_table(hnl_path, {**_BARCODE, "particle_type": np.int64})
    _require(hnl_path, columns[0], ~hnl.duplicated(columns).to_numpy(), "each particle once", hnl)
    row = barcodes.get_indexer(pd.MultiIndex.from_frame(hnl[columns]))
    same = (row < 0) | (table["particle_type"].to_numpy()[row] == hnl["particle_type"].to_numpy())
    _require(hnl_path, "particle_type", same, f"the type of this particle in {path.name}", hnl)
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
    hits_path = event_file(folder, event_id, "hits")
    hits = _read_table(hits_path, _BARCODE)
    particle_of_hit = barcodes.get_indexer(pd.MultiIndex.from_frame(hits))
    _require(
        hits_path,
        BARCODE_COLUMNS[0],
        particle_of_hit >= 0,
        "a particle of the particles_simulated file",
        hits,
    )
    path = event_file(folder, event_id, "measurement-simhit-map")
    links = _read_table(path, _SIMHIT_MAP)
    hit = links["hit_id"].to_numpy()
    expected = f"a row of {hits_path.name}, which has {len(hits)}"
    _require(path, "hit_id", hit < np.uint64(len(hits)), expected, links)
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
        _require(space_point_path, name, good, f"a measurement of {path.name}", clusters)
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
