"""Parts of several formats: the table of particles, and the refusal of an unknown event."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import PARTICLE_COLUMNS
from exatrkx_service.events.tables import EventFormatError


def require_event(folder: Path, event: int, events: Collection[int]) -> None:
    """Raises for an event that is not in the folder.

    Args:
        folder: the folder.
        event: the one that is wanted.
        events: those that are there, at least one.

    Raises:
        EventFormatError: it is not one of them.
    """
    if event not in events:
        raise EventFormatError(
            f"{folder}: no event {event}; found {len(events)}, from {min(events)} to {max(events)}"
        )


def particle_table(table: pd.DataFrame, particle_index: np.ndarray) -> pd.DataFrame:
    """The particles of an ``Event``; none is known to come from an HNL.

    Args:
        table: one row per particle: ``particle_id`` (uint64), ``pdg`` (int64), ``charge`` [e],
            ``px``, ``py``, ``pz`` [GeV, not along the beam], ``vx``, ``vy``, ``vz`` [mm],
            float64.
        particle_index: int64 (N,): row of ``table`` of each space point, or -1.
    """
    pt = np.hypot(table["px"], table["py"])
    particles = pd.DataFrame(
        {
            "particle_id": pd.Series(
                [str(number) for number in table["particle_id"].tolist()], dtype=object
            ),
            "pdg": table["pdg"],
            "charge": table["charge"],
            "pt": pt,
            "eta": np.arcsinh(table["pz"] / pt),
            "phi": np.arctan2(table["py"], table["px"]),
            "vr": np.hypot(table["vx"], table["vy"]),
            "vphi": np.arctan2(table["vy"], table["vx"]),
            "vz": table["vz"],
            "from_hnl": False,
            "n_space_points": np.bincount(
                particle_index[particle_index >= 0], minlength=len(table)
            ),
        }
    )
    return particles.astype(PARTICLE_COLUMNS)
