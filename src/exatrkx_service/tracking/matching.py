"""Track candidates, and the particles that they match."""

from __future__ import annotations

import numpy as np
import pandas as pd

MIN_POINTS = 3  # space points of a track candidate
STATES = ("matched", "duplicate", "fragment", "fake")


def to_tracks(labels: np.ndarray, event: int) -> pd.DataFrame:
    """The tracks of one event in the form in which every method gives them.

    Args:
        labels: int64 (N,): label of each space point's track, -1 for none.
        event: the event's number.

    Returns:
        One row per space point on a track: event, track (the label) and space_point (row in
        ``Event.space_points``), all int64, by track and space point.
    """
    points = np.flatnonzero(labels >= 0)
    points = points[np.argsort(labels[points], kind="stable")]
    table = {"event": np.full(len(points), event), "track": labels[points], "space_point": points}
    return pd.DataFrame(table).astype(np.int64)


def match_tracks(tracks: pd.DataFrame, particle_index: np.ndarray) -> pd.DataFrame:
    """Matches the track candidates of one event to particles; the package has the definitions.

    Args:
        tracks: columns track and space_point, each pair once. Tracks may share space points.
        particle_index: int64 (N,): row of the particle that made each space point, -1 for none.

    Returns:
        One row per candidate, by track: ``track``, ``n_space_points`` (int64), ``particle``
        (int64: row of the particle that made more than half of its points, -1 for none) and
        ``state``, one of ``STATES``. No two matched candidates have the same particle.

    Raises:
        ValueError: a space point is not one of the event's.
    """
    points = tracks["space_point"].to_numpy()
    if len(points) and not 0 <= points.min() <= points.max() < len(particle_index):
        raise ValueError(
            f"space_point: found {points.min()} to {points.max()}, expected 0 to "
            f"{len(particle_index) - 1}: rows of the event's space points"
        )
    table = pd.DataFrame({"track": tracks["track"].to_numpy(), "particle": particle_index[points]})
    size = table.groupby("track").size()
    size = size[size >= MIN_POINTS]
    shared = table[table["particle"] >= 0].value_counts().reset_index(name="shared")
    shared = shared[2 * shared["shared"] > shared["track"].map(size)]  # at most one per candidate
    shared = shared.set_index("track").reindex(size.index)
    particle = shared["particle"].fillna(-1).to_numpy(dtype=np.int64)

    total = np.bincount(particle_index[particle_index >= 0], minlength=1)
    double = 2 * shared["shared"].to_numpy() > total[particle]  # NaN where there is no particle
    best = shared[double].sort_values("shared", ascending=False, kind="stable")
    matched = size.index.isin(best.drop_duplicates("particle").index)
    state = np.select(
        [matched, particle < 0, np.isin(particle, particle[matched])],
        ["matched", "fake", "duplicate"],
        "fragment",
    )
    return pd.DataFrame(
        {
            "track": size.index.to_numpy(dtype=np.int64),
            "n_space_points": size.to_numpy(dtype=np.int64),
            "particle": particle,
            "state": state,
        }
    )
