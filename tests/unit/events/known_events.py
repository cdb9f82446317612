"""Events of known numbers for the tests of the formats, each of which writes them its way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from exatrkx_service.events.event import PARTICLE_COLUMNS, Event

coordinate = st.floats(-3000, 3000, allow_subnormal=False, width=32)
momentum = st.floats(0.125, 1000, width=32) | st.floats(-1000, -0.125, width=32)


@dataclass(frozen=True)
class KnownEvent:
    """``made_by`` is the place in ``particles`` of each position, or -1; one tuple per particle:
    id, pdg, charge, px, py, pz, vx, vy, vz.
    """

    positions: list[tuple[float, float, float]]
    made_by: list[int]
    particles: list[tuple]

    def expected(self, pdg: bool = True) -> pd.DataFrame:
        rows = [
            (
                str(id_),
                kind if pdg else 0,
                charge,
                math.hypot(px, py),
                math.asinh(pz / math.hypot(px, py)),
                math.atan2(py, px),
                math.hypot(vx, vy),
                math.atan2(vy, vx),
                vz,
                False,
                self.made_by.count(place),
            )
            for place, (id_, kind, charge, px, py, pz, vx, vy, vz) in enumerate(self.particles)
        ]
        return pd.DataFrame(rows, columns=list(PARTICLE_COLUMNS)).astype(PARTICLE_COLUMNS)

    def check(self, event: Event, truth: bool = True, pdg: bool = True) -> None:
        r, phi, z = event.space_points.T
        assert event.space_points.dtype == np.float32 and event.particle_index.dtype == np.int64
        x, y, expected_z = np.reshape(self.positions, (-1, 3)).T
        np.testing.assert_allclose(r * np.cos(phi), x, rtol=0, atol=2e-3)
        np.testing.assert_allclose(r * np.sin(phi), y, rtol=0, atol=2e-3)
        np.testing.assert_array_equal(z, expected_z.astype(np.float32))
        assert ((phi > -np.float32(np.pi)) & (phi <= np.float32(np.pi))).all()
        known = self if truth else KnownEvent(self.positions, [-1] * len(self.positions), [])
        assert event.particle_index.tolist() == known.made_by
        pd.testing.assert_frame_equal(event.particles, known.expected(pdg), rtol=1e-12)


@st.composite
def known_events(draw: st.DrawFn, max_id: int) -> KnownEvent:
    ids = draw(st.lists(st.integers(1, max_id), unique=True, max_size=5))
    numbers = st.tuples(*[momentum] * 3, *[coordinate] * 3)
    kind = st.sampled_from([(13, -1.0), (-211, -1.0), (22, 0.0), (1000020040, 2.0)])
    particles = [(id_, *draw(kind), *draw(numbers)) for id_ in ids]
    positions = draw(st.lists(st.tuples(*[coordinate] * 3), max_size=8))
    maker = st.integers(-1, len(ids) - 1)
    return KnownEvent(positions, [draw(maker) for _ in positions], particles)


# Ids that only integers of 64 bits tell apart.
FEW = KnownEvent(
    [(30.0, 40.0, -5.0), (-1.0, -0.0, 7.5), (0.5, -700.0, 1500.0), (-3.0, 4.0, 0.0)],
    [1, -1, 0, 1],
    [
        (4503737066323969, 13, -1.0, 0.5, 1.5, -2.0, 0.125, 0.0, 3.0),
        (2**62 + 1, 211, 1.0, -0.25, 0.75, 100.0, 0.0, -2.0, 30.0),
        (2**62 + 2, -11, -1.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ],
)
