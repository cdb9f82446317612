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
    # As arrays: pandas would align the rows at each step.
    given = {name: table[name].to_numpy() for name in ("px", "py", "pz", "vx", "vy", "vz")}
    pt = np.hypot(given["px"], given["py"])
    particles = pd.DataFrame(
        {
            "particle_id": pd.Series(ids, dtype=object),
            "pdg": table["pdg"].to_numpy(),
            "charge": table["charge"].to_numpy(),
            "pt": pt,
            "eta": np.arcsinh(given["pz"] / pt),
            "phi": np.arctan2(given["py"], given["px"]),
            "vr": np.hypot(given["vx"], given["vy"]),
            "vphi": np.arctan2(given["vy"], given["vx"]),
            "vz": given["vz"],
            "from_hnl": from_hnl,
            "n_space_points": np.bincount(
                particle_index[particle_index >= 0], minlength=len(table)
            ),
        }
    )
    return particles.astype(PARTICLE_COLUMNS)
