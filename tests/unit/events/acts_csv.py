"""Events made by hypothesis, in the form of the ACTS CSV files, for the tests of the reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from exatrkx_service.events.files import BARCODE_COLUMNS, event_file

UNUSED = 2**64 - 1
N_HNL_EVENTS = 6  # in the sample that the tests share
HEADERS = {
    "spacepoint": "measurement_id_1,measurement_id_2,geometry_id_1,geometry_id_2,x,y,z,t,"
    "var_r,var_z",
    "measurement-simhit-map": "measurement_id,hit_id",
    "hits": ",".join(BARCODE_COLUMNS) + ",geometry_id,tx,ty,tz,index",
    "particles_simulated": ",".join(BARCODE_COLUMNS)
    + ",particle_type,process,vx,vy,vz,vt,px,py,pz,m,q",
    "hnl": ",".join(BARCODE_COLUMNS) + ",particle_type",
}


@dataclass
class RawEvent:
    """Rows of an event's files, as numbers.

    ``clusters`` holds the measurement ids of each space point, ``hits_of`` the hits of each
    measurement and ``hits`` the particle (its place in ``particles``) of each hit.
    """

    positions: list[tuple[float, float, float]] = field(default_factory=list)
    clusters: list[tuple[int, ...]] = field(default_factory=list)
    hits_of: dict[int, list[int]] = field(default_factory=dict)
    hits: list[int] = field(default_factory=list)
    particles: list[tuple[int, ...]] = field(default_factory=list)
    kinematics: list[tuple[float, ...]] = field(default_factory=list)
    hnl: list[tuple[int, ...]] = field(default_factory=list)

    def tables(self) -> dict[str, list[str]]:
        """Lines of each file after the header."""
        geometry = 504403295704449792
        points = [
            ",".join(map(str, (*(*ids, UNUSED)[:2], geometry, 0, *map(repr, xyz), "nan", 0.1, 0)))
            for ids, xyz in zip(self.clusters, self.positions, strict=True)
        ]
        return {
            "spacepoint": points,
            "measurement-simhit-map": [
                f"{measurement},{hit}" for measurement, hits in self.hits_of.items() for hit in hits
            ],
            "hits": [_csv(*self.particles[p], geometry, 1.0, 2.0, 3.0, 0) for p in self.hits],
            "particles_simulated": [
                _csv(*barcode, 13, 0, *values[:3], 0, *values[3:6], 0.1, values[6])
                for barcode, values in zip(self.particles, self.kinematics, strict=True)
            ],
            "hnl": [_csv(*barcode, 13) for barcode in self.hnl],
        }


def _csv(*values: float) -> str:
    return ",".join(map(repr, values))


def write_tables(folder: Path, tables: dict[str, list[str]], event_id: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, lines in tables.items():
        event_file(folder, event_id, kind).write_text("\n".join([HEADERS[kind], *lines]) + "\n")


uint64 = st.integers(0, 2**64 - 2)
coordinate = st.floats(-3000, 3000, allow_subnormal=False)
momentum = st.floats(0.1, 1e3) | st.floats(-1e3, -0.1)


@st.composite
def raw_events(draw: st.DrawFn, min_points: int = 0) -> RawEvent:
    barcode = st.tuples(*[st.integers(0, 2**63)] * 2, *[st.integers(0, 9)] * 3)
    particles = draw(st.lists(barcode, unique=True, max_size=5, min_size=min_points > 0))
    row = st.integers(0, max(0, len(particles) - 1))
    hits = draw(st.lists(row, max_size=8, min_size=min_points > 0)) if particles else []
    hit = st.lists(st.integers(0, max(0, len(hits) - 1)), min_size=1, max_size=3)
    ids = draw(st.lists(uint64, unique=True, max_size=8, min_size=min_points)) if hits else []
    hits_of = {measurement: draw(hit) for measurement in ids}
    cluster = st.lists(st.sampled_from(ids or [0]), min_size=1, max_size=2, unique=True).map(tuple)
    unique = st.lists(cluster, unique=True, max_size=10, min_size=min_points)
    clusters = draw(unique) if ids else []
    n, n_particles = len(clusters), len(particles)
    xyz = st.tuples(coordinate, coordinate, coordinate)
    values = st.tuples(
        coordinate, coordinate, coordinate, *[momentum] * 3, st.sampled_from([-1, 1])
    )
    subset = st.lists(st.sampled_from(particles), unique=True) if particles else st.just([])
    return RawEvent(
        positions=draw(st.lists(xyz, min_size=n, max_size=n)),
        clusters=clusters,
        hits_of=hits_of,
        hits=hits,
        particles=particles,
        kinematics=draw(st.lists(values, min_size=n_particles, max_size=n_particles)),
        hnl=draw(subset),
    )
