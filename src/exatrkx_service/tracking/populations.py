"""Which particles a track finder is expected to find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Selection:
    """Cuts on charged particles.

    Attributes:
        pt_gev: transverse momentum above this [GeV].
        n_space_points: at least so many space points.
        abs_eta: absolute pseudorapidity below this.
    """

    pt_gev: float
    n_space_points: int
    abs_eta: float = np.inf

    def __str__(self) -> str:
        eta = f"|η| < {self.abs_eta:g}, " if np.isfinite(self.abs_eta) else ""
        return f"charged, {eta}pT > {self.pt_gev:g} GeV, ≥ {self.n_space_points} space points"


SELECTIONS = {"A": Selection(0.5, 3), "B": Selection(1.0, 5, abs_eta=3.0)}
HNL_SUFFIX = "_hnl"
POPULATIONS = tuple(f"{name}{suffix}" for name in SELECTIONS for suffix in ("", HNL_SUFFIX))
ALL_PARTICLES = ("all", f"all{HNL_SUFFIX}")  # without cuts: for true edges


def in_populations(particles: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which particles belong to which population.

    Args:
        particles: P rows; the columns charge, pt [GeV], eta, n_space_points and from_hnl of
            ``Event.particles``.

    Returns:
        Bool (P,) for each of ``ALL_PARTICLES`` and ``POPULATIONS``.
    """
    charge, pt, eta, n_space_points = (
        particles[name].to_numpy() for name in ("charge", "pt", "eta", "n_space_points")
    )
    masks = {"all": np.ones(len(particles), dtype=bool)}
    for name, cut in SELECTIONS.items():
        kept = (pt > cut.pt_gev) & (np.abs(eta) < cut.abs_eta)
        masks[name] = (charge != 0) & kept & (n_space_points >= cut.n_space_points)
    from_hnl = particles["from_hnl"].to_numpy(dtype=bool)
    return masks | {f"{name}{HNL_SUFFIX}": mask & from_hnl for name, mask in masks.items()}
