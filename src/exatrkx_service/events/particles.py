"""The table of particles of an event, from what files say of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from exatrkx_service.events.event import PARTICLE_COLUMNS


def particle_table(
    table: pd.DataFrame,
    ids: Sequence[str],
    particle_index: np.ndarray,
    from_hnl: np.ndarray | bool = False,
) -> pd.DataFrame:
    """The particles of an ``Event``.

    Args:
        table: one row per particle: ``pdg`` (int64), ``charge`` [e], ``px``, ``py``, ``pz`` [GeV,
            not along the beam], ``vx``, ``vy``, ``vz`` [mm], float64.
        ids: of each particle.
        particle_index: int64 (N,): row of ``table`` of each space point, or -1.
        from_hnl: bool (rows,): which are decay products of the HNL.
    """
    pt = np.hypot(table["px"], table["py"])
    particles = pd.DataFrame(
        {
            "particle_id": pd.Series(ids, dtype=object),
            "pdg": table["pdg"],
            "charge": table["charge"],
            "pt": pt,
            "eta": np.arcsinh(table["pz"] / pt),
            "phi": np.arctan2(table["py"], table["px"]),
            "vr": np.hypot(table["vx"], table["vy"]),
            "vphi": np.arctan2(table["vy"], table["vx"]),
            "vz": table["vz"],
            "from_hnl": from_hnl,
            "n_space_points": np.bincount(
                particle_index[particle_index >= 0], minlength=len(table)
            ),
        }
    )
    return particles.astype(PARTICLE_COLUMNS)
