"""Refuse events whose numbers can't be in the units that ACTS writes: mm and GeV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.tables import EventFormatError

MANY = 100  # space points or particles of an event; fewer are taken as they are
# Distance [mm] from the origin of the outermost of many space points, in any tracker: from small
# vertex detectors to spectrometers. The generic detector's are 2,980 to 3,130 away.
TRACKER_MM = (400.0, 20_000.0)
HALF_GEV = 1000.0  # median momentum of many particles
_MM_PER = {"um": 1e-3, "cm": 10.0, "m": 1e3}


def require_millimetres(
    path: Path | str, space_points: np.ndarray, columns: str = "columns x,y,z"
) -> None:
    """Raises for an event that can't be in mm.

    The outermost of ``MANY`` space points is about as far away as the detector is large; of
    fewer it is not further away.

    Args:
        path: the file, and the event where the file has several.
        space_points: (N, 3): r [mm], phi [rad], z [mm].
        columns: of the file that they were made from, for the message.

    Raises:
        EventFormatError: the positions are in another unit.
    """
    if len(space_points) == 0:
        return
    low, high = TRACKER_MM
    r, _, z = space_points.T.astype(np.float64)
    farthest = float(np.hypot(r, z).max())
    if len(space_points) < MANY:  # the tracker may have more to it than these show
        low = 0
    if not low <= farthest <= high:
        units = [unit for unit, mm in _MM_PER.items() if low <= farthest * mm <= high]
        guess = f"; that looks like {units[0]}" if units else ""
        raise EventFormatError(
            f"{path}: {columns}: the outermost of {len(space_points)} space points is "
            f"{farthest:g} from the origin, expected {low:g} to {high:g} mm in a tracker{guess}"
        )


def require_gev(path: Path | str, particles: Mapping[str, np.ndarray] | pd.DataFrame) -> None:
    """Raises for an event of ``MANY`` particles or more whose momenta can't be in GeV.

    Half of so many above ``HALF_GEV`` have more energy than a collision of any collider, built or
    planned, gives to the particles of a tracker; only a gun could. In MeV nearly each event of
    the LHC has.
    Nothing is said of the production vertices: in cm or m they are as good as those of particles
    made nearer the beam.

    Args:
        path: the file, and the event where the file has several.
        particles: columns as in the file, with the momenta.

    Raises:
        EventFormatError: the momenta are in another unit.
    """
    px, py, pz = (np.asarray(particles[name]) for name in ("px", "py", "pz"))
    if len(px) < MANY:
        return
    momentum = np.hypot(np.hypot(px, py), pz)
    median = float(np.median(momentum))
    if median > HALF_GEV:
        raise EventFormatError(
            f"{path}: columns px,py,pz: half of {len(px)} particles have momenta above "
            f"{median:g}, expected at most {HALF_GEV:g} GeV; that looks like MeV"
        )
