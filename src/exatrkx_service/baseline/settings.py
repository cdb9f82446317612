"""Cuts of the ACTS algorithms, for tracks that begin far from the beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import acts

_MM, _GEV = acts.UnitConstants.mm, acts.UnitConstants.GeV


@dataclass(frozen=True)
class CkfSettings:
    """Lengths in mm, momenta in GeV. What is not named here has the value that ACTS gives it.

    Attributes:
        pt_min: seeds with a smaller transverse momentum are dropped.
        impact_max: largest transverse distance of a seed's circle from the beam.
        collision_region: largest abs(z) at which a seed's line meets the beam.
        cot_theta_max: largest cotangent of a seed's polar angle; sinh(eta).
        r_max: space points outside this radius make no seeds.
        z_max: space points beyond this abs(z) make no seeds.
        r_middle: least and largest radius of a seed's middle space point. The default of ACTS ends
            at 120, so no seed is found beyond 170.
        delta_r_max: largest radial distance of two neighbouring space points of a seed.
        seeds_per_middle: at most this many seeds per middle space point, and one more.
        chi2_measurement: a measurement with a smaller chi2 goes into the fit.
        chi2_outlier: one with a smaller chi2 is kept as an outlier; above it the surface is a hole.
        branches: measurements that may continue a track at one surface.
        two_way: search from the seed outwards, and from there inwards too.
        shared_measurements: two tracks may share this many measurements.
        measurements_min: tracks with fewer measurements are dropped.
    """

    pt_min: float = 0.4
    impact_max: float = 200
    collision_region: float = 1000
    cot_theta_max: float = 10.02
    r_max: float = 1100
    z_max: float = 3000
    r_middle: tuple[float, float] = (40, 900)
    delta_r_max: float = 270
    seeds_per_middle: int = 1
    chi2_measurement: float = 15
    chi2_outlier: float = 25
    branches: int = 1
    two_way: bool = True
    shared_measurements: int = 1
    measurements_min: int = 3

    def seeding(self) -> dict[str, Any]:
        """Arguments of ``acts.examples.GridTripletSeedingAlgorithm``."""
        return {
            "minPt": self.pt_min * _GEV,
            "impactMax": self.impact_max * _MM,
            "collisionRegionMin": -self.collision_region * _MM,
            "collisionRegionMax": self.collision_region * _MM,
            "cotThetaMax": self.cot_theta_max,
            "rMax": self.r_max * _MM,
            "zMin": -self.z_max * _MM,
            "zMax": self.z_max * _MM,
            "rMinMiddle": self.r_middle[0] * _MM,
            "rMaxMiddle": self.r_middle[1] * _MM,
            "deltaRMax": self.delta_r_max * _MM,
            "maxSeedsPerSpM": self.seeds_per_middle,
        }

    def finding(self) -> dict[str, Any]:
        """Arguments of ``acts.examples.TrackFindingAlgorithm``."""
        everywhere = acts.GeometryIdentifier()
        cuts = ([], [self.chi2_measurement], [self.chi2_outlier], [self.branches])
        return {
            "measurementSelectorCfg": acts.MeasurementSelector.Config([(everywhere, cuts)]),
            "twoWay": self.two_way,
            "seedDeduplication": True,
            "stayOnSeed": True,
        }

    def ambiguity(self) -> dict[str, Any]:
        """Arguments of ``acts.examples.GreedyAmbiguityResolutionAlgorithm``."""
        return {
            "maximumSharedHits": self.shared_measurements,
            "nMeasurementsMin": self.measurements_min,
        }


LARGE_RADIUS = CkfSettings()
