"""One collision event: its space points, what they were made from, and the truth behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Of ``Event.particles``.
PARTICLE_COLUMNS = {
    "particle_id": object,
    "pdg": np.int64,
    "charge": np.float64,
    **dict.fromkeys(("pt", "eta", "phi", "vr", "vphi", "vz"), np.float64),
    "from_hnl": np.bool_,
    "n_space_points": np.int64,
}
UNUSED_MEASUREMENT = np.uint64(2**64 - 1)  # the second of a space point with one measurement


@dataclass(frozen=True)
class Event:
    """Space points of one event and, where known, the particles that made them.

    Attributes:
        event_id: the event's number in its sample.
        space_points: float32 (N, 3): r [mm], phi [rad, in (-pi, pi]], z [mm]. The rows
            keep the order of the file.
        particle_index: int64 (N,): row of ``particles`` that made the space point, -1 where
            no particle did, or where its two clusters come from different particles.
        particles: one row per particle that was simulated; none if the truth is not known.
            Columns: ``particle_id`` (str: the five ACTS barcode fields joined with '|', or the id
            as it stands in the file), ``pdg`` (int64, 0 where it is not known), ``charge`` [e],
            ``pt`` [GeV], ``eta``, ``phi`` [rad], ``vr`` [mm], ``vphi`` [rad] and
            ``vz`` [mm]: production vertex, ``from_hnl`` (bool: decay product of the HNL),
            ``n_space_points`` (int64).
        columns: float32 (N, C), columns of its file as they stand there, for a model that takes
            them; None if they were not asked for.
    """

    event_id: int
    space_points: np.ndarray
    particle_index: np.ndarray
    particles: pd.DataFrame
    columns: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of space points."""
        return len(self.space_points)

    @classmethod
    def without_truth(
        cls, event_id: int, space_points: np.ndarray, columns: np.ndarray | None = None
    ) -> Event:
        """An event of which the particles are not known; arguments as the attributes."""
        particles = {name: np.empty(0, type_) for name, type_ in PARTICLE_COLUMNS.items()}
        nobody = np.full(len(space_points), -1, np.int64)
        return cls(event_id, space_points, nobody, pd.DataFrame(particles), columns)


@dataclass(frozen=True)
class PointsWithColumns:
    """Space points with the columns of their file, see ``Event``."""

    space_points: np.ndarray
    columns: np.ndarray

    def __len__(self) -> int:
        """Number of space points."""
        return len(self.space_points)


@dataclass(frozen=True)
class EventBatch:
    """Several events as one: their space points one after the other.

    Attributes:
        space_points: float32 (N, 3), as of ``Event``.
        event_sizes: int64 (B,), the number of space points of each event.
    """

    space_points: np.ndarray
    event_sizes: np.ndarray

    def __len__(self) -> int:
        """Number of space points of all events."""
        return len(self.space_points)

    @classmethod
    def of(cls, events: Sequence[np.ndarray]) -> EventBatch:
        """The events whose space points these are, one at least."""
        sizes = np.array([len(event) for event in events], dtype=np.int64)
        return cls(np.ascontiguousarray(np.concatenate(events)), sizes)

    def events(self) -> list[np.ndarray]:
        """The space points of each event."""
        return np.split(self.space_points, np.cumsum(self.event_sizes)[:-1])


def cylindrical(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Space points from Cartesian positions [mm]: float32 (N, 3), as of ``Event``."""
    with np.errstate(over="ignore"):
        points = np.column_stack([np.hypot(x, y), np.arctan2(y, x), z]).astype(np.float32)
    # arctan2 gives -pi for y = -0.0: the same direction as pi.
    points[points[:, 1] <= -np.float32(np.pi), 1] = np.float32(np.pi)
    return points


@dataclass(frozen=True)
class Measurements:
    """Measurements of one event, and the space points that were made from them.

    Attributes:
        table: one row per measurement, in the order of the file: ``geometry_id`` (uint64, the
            surface), ``local0``, ``local1`` [mm, on the surface], ``var_local0``, ``var_local1``
            [mm², above 0], float64.
        clusters: uint64 (N, 2): rows of ``table`` from which each space point was made, in the
            order of the space points; ``UNUSED_MEASUREMENT`` in the second column where it was
            one.
        space_points: float32 (N, 3), as of ``Event``.
    """

    table: pd.DataFrame
    clusters: np.ndarray
    space_points: np.ndarray
