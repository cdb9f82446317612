"""Events in the CSV files of the releases of ACTS, as tables of text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from acts_csv import HEADERS, RawEvent, raw_events
from hypothesis import strategies as st

from exatrkx_service.events.event import Event
from exatrkx_service.events.files import BARCODE_COLUMNS
from exatrkx_service.events.formats.acts import Acts

BITS = (12, 12, 16, 8, 16)
FIVE = ",".join(BARCODE_COLUMNS)
# Headers as they are in CsvOutputData.hpp, and in the sample for the CsvSpacePointReader.
V15 = "measurement_id,x,y,z,var_r,var_z"
V20 = "measurement_id,geometry_id,x,y,z,var_r,var_z"
V43 = HEADERS["spacepoint"]
SP_X = "measurement_id,sp_type,module_idhash,sp_x,sp_y,sp_z,sp_radius,sp_covr,sp_covz"
RELEASES = {"15": (V15, True), "20": (V20, True), "43": (V43, True), "44": (V43, False)}
POINTS = "event000000000-spacepoint.csv"

SMALL = RawEvent(
    positions=[(3.0, 4.0, 5.0), (-1.0, 0.0, 2.0), (0.0, -2.0, -7.0)],
    clusters=[(7,), (2,), (9,)],
    hits_of={7: [0], 2: [1, 2], 9: [2]},
    hits=[0, 0, 1],
    particles=[(1, 0, 1, 0, 0), (4095, 2, 65535, 255, 3)],
    kinematics=[(0.0, 0.0, 1.0, 3.0, 4.0, 0.0, 1), (3.0, 4.0, 20.0, 0.0, 2.0, -2.0, -1)],
)


def frames(event: RawEvent, release: str = "44") -> dict[str, pd.DataFrame]:
    """The files of an event as a release writes them, all values as text."""
    header, packed = RELEASES[release]
    made = {}
    for kind, lines in event.tables().items():
        names = HEADERS[kind].split(",")
        made[kind] = pd.DataFrame([x.split(",") for x in lines], columns=names, dtype=object)
    points = made["spacepoint"]
    for name in ("measurement_id", "geometry_id"):
        points[name] = points[f"{name}_1"]
    made["spacepoint"] = points[header.split(",")]
    if packed:
        for table in made.values():
            if BARCODE_COLUMNS[0] in table:
                numbers = [pack(*row) for row in table[list(BARCODE_COLUMNS)].values]
                table.drop(columns=list(BARCODE_COLUMNS), inplace=True)
                table.insert(0, "particle_id", numbers)
    return made


def pack(*fields: str) -> str:
    number = 0
    for field, bits in zip(fields, BITS, strict=True):
        number = number << bits | int(field)
    return str(number)


def as_sp_x(event: RawEvent) -> pd.DataFrame:
    points = frames(event, "20")["spacepoint"]
    points = points.rename(columns={name: f"sp_{name}" for name in "xyz"})
    return points.reindex(columns=SP_X.split(","), fill_value="0.5")


def write(folder: Path, tables: dict[str, pd.DataFrame], event: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, table in tables.items():
        table.to_csv(folder / f"event{event:09d}-{kind}.csv", index=False)
    return folder


def read(folder: Path, event: int = 0) -> Event:
    return Acts(folder, {}).read(event)


def assert_same(found: Event, expected: Event) -> None:
    assert found.event_id == expected.event_id
    for name in ("space_points", "particle_index"):
        a, b = getattr(found, name), getattr(expected, name)
        assert a.dtype == b.dtype and np.array_equal(a, b)
    pd.testing.assert_frame_equal(found.particles, expected.particles, check_exact=True)


@st.composite
def pixel_events(draw: st.DrawFn) -> RawEvent:
    """Each space point of one measurement, and barcodes that fit into one number."""
    event = draw(raw_events())
    fields = [st.integers(0, 2**bits - 1) for bits in BITS]
    n = len(event.particles)
    barcodes = draw(st.lists(st.tuples(*fields), unique=True, min_size=n, max_size=n))
    new = dict(zip(event.particles, barcodes, strict=True))
    points = {ids[0]: xyz for ids, xyz in zip(event.clusters, event.positions, strict=True)}
    event.clusters, event.positions = [(i,) for i in points], list(points.values())
    event.particles, event.hnl = barcodes, [new[barcode] for barcode in event.hnl]
    return event


def layouts(event: RawEvent) -> dict[str, dict[str, pd.DataFrame]]:
    """The files of an event of pixels in each layout."""
    made = {release: frames(event, release) for release in RELEASES}
    for release in ("15", "44"):
        tables = frames(event, release)
        del tables["spacepoint"]
        made[f"sp_x, truth of {release}"] = {**tables, "spacepoints": as_sp_x(event)}
    return made
