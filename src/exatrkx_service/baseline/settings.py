"""Cuts of the ACTS algorithms, for tracks that begin far from the beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import acts
import numpy as np

_MM, _GEV = acts.UnitConstants.mm, acts.UnitConstants.GeV


@dataclass(frozen=True)
class CkfSettings:
    """Lengths in mm, momenta in GeV. What is not named here has the value that ACTS gives it.

    Attributes:
        pt_min: least transverse momentum of a seed.
        impact_max: largest transverse distance of a seed's circle from the beam; ACTS: 20.
        collision_region: largest abs(z) at which a seed's line meets the beam; ACTS: 150.
        eta_max: largest abs(pseudorapidity) of a seed: that of the generated particles. ACTS: 3.
        r_max: largest radius of a seed's space points: all layers. ACTS: 600.
        z_max: largest abs(z) of a seed's space points: all layers. ACTS: 2800.
        r_middle: least and largest radius of a seed's middle space point. ACTS: 60 and 120, which
            finds no track that begins beyond 170.
        extra_seeds: a middle space point has one seed, and at most this many more; ACTS: 5.
        chi2_measurement: a measurement with a smaller chi2 goes into the fit.
        chi2_outlier: one with a smaller chi2 is kept as an outlier; above it the surface is a hole.
        branches: measurements that may continue a track at one surface.
        holes_max: a track ends where it would have more holes. ACTS sets no limit, and tracks
            collect measurements of others on the way to the beam.
        outliers_max: a track ends where it would have more outliers.
        shared_measurements: of two tracks that share this many measurements one is dropped.
        measurements_min: least number of measurements of a track; ACTS: 7.
    """

    pt_min: float = 0.4
    impact_max: float = 200
    collision_region: float = 1000
    eta_max: float = 4
    r_max: float = 1100
    z_max: float = 3000
    r_middle: tuple[float, float] = (40, 900)
    extra_seeds: int = 0
    chi2_measurement: float = 15
    chi2_outlier: float = 25
    branches: int = 1
    holes_max: int = 1
    outliers_max: int = 2
    shared_measurements: int = 1
    measurements_min: int = 3

    def seeding(self) -> dict[str, Any]:
        """Arguments of ``acts.examples.GridTripletSeedingAlgorithm``."""
        return {
            "minPt": self.pt_min * _GEV,
            "impactMax": self.impact_max * _MM,
            "collisionRegionMin": -self.collision_region * _MM,
            "collisionRegionMax": self.collision_region * _MM,
            "cotThetaMax": float(np.sinh(self.eta_max)),
            "rMax": self.r_max * _MM,
            "zMin": -self.z_max * _MM,
            "zMax": self.z_max * _MM,
            "rMinMiddle": self.r_middle[0] * _MM,
            "rMaxMiddle": self.r_middle[1] * _MM,
            "maxSeedsPerSpM": self.extra_seeds,
        }

    def finding(self) -> dict[str, Any]:
        """Arguments of ``acts.examples.TrackFindingAlgorithm``."""
        everywhere = acts.GeometryIdentifier()
        cuts = ([], [self.chi2_measurement], [self.chi2_outlier], [self.branches])
        return {
            "measurementSelectorCfg": acts.MeasurementSelector.Config([(everywhere, cuts)]),
            "trackSelectorCfg": acts.TrackSelector.Config(
                minMeasurements=self.measurements_min,
                maxHoles=self.holes_max,
                maxOutliers=self.outliers_max,
            ),
            "seedDeduplication": True,  # none is followed that lies on a track found before
        }

    def ambiguity(self) -> dict[str, Any]:
        """Arguments of ``acts.examples.GreedyAmbiguityResolutionAlgorithm``."""
        return {
            "maximumSharedHits": self.shared_measurements,
            "nMeasurementsMin": self.measurements_min,
        }


LARGE_RADIUS = CkfSettings()
