"""The table of particles of an event, from what files say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def particle_table(
    table: Mapping[str, np.ndarray] | pd.DataFrame,
    ids: Sequence[str],
    particle_index: np.ndarray,
    from_hnl: np.ndarray | bool = False,
) -> pd.DataFrame:
    """The particles of an ``Event``.

    Args:
        table: columns, one value per particle: ``pdg`` (int64), ``charge`` [e], ``px``, ``py``,
            ``pz`` [GeV, not along the beam], ``vx``, ``vy``, ``vz`` [mm], float64.
        ids: of each particle.
        particle_index: int64 (N,): row of ``table`` of each space point, or -1.
        from_hnl: bool (rows,): which are decay products of the HNL.
    """
    # As arrays: pandas would align the rows at each step.
    names = ("pdg", "charge", "px", "py", "pz", "vx", "vy", "vz")
    given = {name: np.asarray(table[name]) for name in names}
    pt = np.hypot(given["px"], given["py"])
    return pd.DataFrame(
        {
            "particle_id": pd.Series(ids, dtype=object),
            "pdg": given["pdg"],
            "charge": given["charge"],
            "pt": pt,
            "eta": np.arcsinh(given["pz"] / pt),
            "phi": np.arctan2(given["py"], given["px"]),
            "vr": np.hypot(given["vx"], given["vy"]),
            "vphi": np.arctan2(given["vy"], given["vx"]),
            "vz": given["vz"],
            "from_hnl": np.broadcast_to(from_hnl, len(pt)),
            "n_space_points": np.bincount(particle_index[particle_index >= 0], minlength=len(pt)),
        }
    )
