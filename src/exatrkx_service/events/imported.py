"""Events from elsewhere, once they are read and checked: two tables per event, in Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import Event, PointsWithColumns
from exatrkx_service.events.files import event_file

PARTICLES, SPACE_POINTS = "particles", "space_points"
POSITION = ["r", "phi", "z"]  # [mm, rad, mm], float32
COLUMN = "column_"  # begins the names of columns of the file, from 1 on, float32, where kept
INDEX = "particle_index"  # column of the space points where the truth is known


def is_imported(folder: Path, event_id: int) -> bool:
    """Whether an event lies in a folder in this form."""
    return event_file(folder, event_id, SPACE_POINTS).is_file()


def is_known(folder: Path, event_id: int) -> bool:
    """Whether it is known which particles made the space points of an event."""
    return not is_imported(folder, event_id) or event_file(folder, event_id, PARTICLES).is_file()


def write_imported(folder: Path, event: Event, *, truth: bool) -> None:
    """Writes an event.

    Args:
        folder: where to.
        event: the event.
        truth: whether its particles are known.
    """
    points = pd.DataFrame(event.space_points, columns=POSITION)
    if truth:
        points[INDEX] = event.particle_index
        event.particles.to_parquet(event_file(folder, event.event_id, PARTICLES), index=False)
    if event.columns is not None:
        names = [f"{COLUMN}{place}" for place in range(1, event.columns.shape[1] + 1)]
        points = points.join(pd.DataFrame(event.columns, columns=names))
    points.to_parquet(event_file(folder, event.event_id, SPACE_POINTS), index=False)


def imported_space_points(folder: Path, event_id: int) -> np.ndarray:
    """Space points of an event, as of ``Event``."""
    return _matrix(pd.read_parquet(event_file(folder, event_id, SPACE_POINTS)), POSITION)


def imported_with_columns(folder: Path, event_id: int) -> PointsWithColumns:
    """Space points of an event with the columns that were kept of its file."""
    points = pd.read_parquet(event_file(folder, event_id, SPACE_POINTS))
    names = [name for name in points if name.startswith(COLUMN)]
    return PointsWithColumns(_matrix(points, POSITION), _matrix(points, names))


def read_imported(folder: Path, event_id: int) -> Event:
    """An event; without particles if its truth is not known."""
    points = pd.read_parquet(event_file(folder, event_id, SPACE_POINTS))
    positions = _matrix(points, POSITION)
    if INDEX not in points:
        return Event.without_truth(event_id, positions)
    particles = pd.read_parquet(event_file(folder, event_id, PARTICLES))
    return Event(event_id, positions, points[INDEX].to_numpy(), particles)


def _matrix(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Columns as an array in C order, as generated events have it and as a server is sent it.

    pandas gives it in the order of Fortran, in which networks take another time.
    """
    return np.ascontiguousarray(table[columns].to_numpy())
