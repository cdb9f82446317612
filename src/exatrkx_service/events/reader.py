"""Read the events of a sample folder.

Generated ones are ACTS CSV files and the truth file ``hnl`` beside them; those from elsewhere are
in the form of ``imported``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import UNUSED_MEASUREMENT, Event, Measurements
from exatrkx_service.events.files import BARCODE_COLUMNS, HNL_FILE, event_file
from exatrkx_service.events.imported import imported_space_points, is_imported, read_imported
from exatrkx_service.events.tables import read_table, require
from exatrkx_service.events.truth import Truth, event_with_truth, space_points

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
    """Space points of one event, generated or from elsewhere; needs no truth.

    Returns:
        float32 (N, 3): r [mm], phi [rad, in (-pi, pi]], z [mm], in the order of the file.
        N is 0 for an event without space points.

    Raises:
        EventFormatError: the file is missing or malformed.
    """
    folder = Path(folder)
    if is_imported(folder, event_id):
        return imported_space_points(folder, event_id)
    return _space_points(folder, event_id)[0]


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
    """One event, with its truth where that is known: always in generated ones.

    Which particle a space point belongs to: ``truth.event_with_truth``. The space points, the map
    and the particles may be in any order: they are matched by their ids. The rows of the hits file
    are what the map's ``hit_id`` counts, so their order has a meaning.

    The ``hnl`` file may list particles that were not simulated (Fatras drops those below its
    momentum cut). It has only a header where there is no HNL, and is required in any case.

    Raises:
        EventFormatError: a file is missing or malformed, an id is duplicated, or a reference
            points nowhere; the message names the file, the column and the line.
    """
    folder = Path(folder)
    if is_imported(folder, event_id):
        return read_imported(folder, event_id)
    points, clusters = _space_points(folder, event_id)
    truth = Truth(
        *(_read(folder, event_id, kind) for kind in ("particles_simulated", "hits")),
        links=_read(folder, event_id, "measurement-simhit-map"),
        hnl=_read(folder, event_id, HNL_FILE),
    )
    path = event_file(folder, event_id, "spacepoint")
    return event_with_truth(event_id, points, (path, clusters), truth)


def _read(folder: Path, event_id: int, kind: str) -> tuple[Path, pd.DataFrame]:
    path = event_file(folder, event_id, kind)
    return path, read_table(path, kind, _COLUMNS[kind])


def _space_points(folder: Path, event_id: int) -> tuple[np.ndarray, pd.DataFrame]:
    path, table = _read(folder, event_id, "spacepoint")
    ids = ["measurement_id_1", "measurement_id_2"]
    return space_points((path, table), once=ids), table[ids]
