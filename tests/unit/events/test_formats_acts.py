"""Events in the CSV files of the releases of ACTS."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from acts_csv import HEADERS, N_HNL_EVENTS, UNUSED, RawEvent, raw_events, write_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.events.event import PARTICLE_COLUMNS, Event
from exatrkx_service.events.files import BARCODE_COLUMNS
from exatrkx_service.events.formats.acts import Acts
from exatrkx_service.events.reader import read_event
from exatrkx_service.events.tables import EventFormatError

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "events", frames(SMALL))


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


@settings(max_examples=25, deadline=None)
@given(event=pixel_events())
def test_an_event_is_the_same_in_each_layout(event: RawEvent):
    with tempfile.TemporaryDirectory() as name:
        write_tables(Path(name, "own"), event.tables())
        expected = read_event(Path(name, "own"), 0)
        for layout, tables in layouts(event).items():
            format_ = Acts(write(Path(name, layout), tables), {})
            assert format_.has_truth()
            assert_same(format_.read(0), expected)


def test_events_of_acts_are_read_as_by_the_reader_of_our_own(hnl_sample):
    format_ = Acts(hnl_sample, {})
    assert list(format_.files()) == list(range(N_HNL_EVENTS))
    for event in (0, N_HNL_EVENTS - 1):
        found = format_.read(event)
        assert_same(found, read_event(hnl_sample, event))
        assert len(found) > 50 and found.particles.from_hnl.any()


def test_space_points_of_the_itk(tmp_path):
    """Rows as in the sample of itk_seeding.py: with a space at the beginning of each."""
    rows = [
        " 1,0,3139,32.67557144165039,-5.311902523040771,-47.65000152587891,33.104,0.06,0.03",
        " 2,0,3422,95.14442443847656,-15.46361255645752,-52.125,96.393,0.06,0.017",
    ]
    (tmp_path / "event000000000-spacepoints.csv").write_text("\n".join([SP_X, *rows, ""]))
    expected = [[33.1045, -0.16115, -47.65], [96.39287, -0.16112, -52.125]]
    assert read(tmp_path).space_points == pytest.approx(np.array(expected), rel=1e-4)


def test_small_event(folder):
    """As numbers, in the newest layout and the oldest."""
    for event in (read(folder), read(write(folder.parent / "15", frames(SMALL, "15")))):
        expected = [[5, np.arctan2(4, 3), 5], [1, np.pi, 2], [2, -np.pi / 2, -7]]
        assert np.array_equal(event.space_points, np.array(expected, np.float32))
        # The second has hits of both particles: one cluster of two.
        assert event.particle_index.tolist() == [0, -1, 1]
        assert event.particles.particle_id.tolist() == ["1|0|1|0|0", "4095|2|65535|255|3"]
        assert event.particles.pt.tolist() == [5, 2]
        assert event.particles.n_space_points.tolist() == [1, 1]
        assert not event.particles.from_hnl.any()
        types = {name: np.dtype(type_) for name, type_ in PARTICLE_COLUMNS.items()}
        assert event.particles.dtypes.to_dict() == types
        assert list(event.particles) == list(types)


def test_a_packed_id_is_that_of_acts(tmp_path):
    """The number in which releases before 44 wrote the first particle of the first vertex."""
    tables = frames(SMALL, "43")
    assert tables["hits"].particle_id[0] == "4503599644147712"
    particles = read(write(tmp_path, tables)).particles
    assert particles.particle_id[0] == "1|0|1|0|0"


def test_strips(tmp_path):
    """A point of two strips belongs to the particle that hit both."""
    event = RawEvent(**{**vars(SMALL), "clusters": [(7, 2), (9, 2), (7, 9)]})
    for release in ("43", "44"):
        found = read(write(tmp_path / release, frames(event, release)))
        assert found.particle_index.tolist() == [0, 1, -1]
    # Releases 42.0 to 43.2 wrote the first measurement alone.
    old = write(tmp_path / "42", frames(event, "20"))
    with pytest.raises(EventFormatError, match=r"line 4, column measurement_id: 7.*42\.0 to 43\.2"):
        read(old)
    for kind in ("hits", "measurement-simhit-map"):
        (old / f"event000000000-{kind}.csv").unlink()
    assert np.array_equal(read(old).space_points, found.space_points)


@pytest.mark.parametrize("layout", ["15", "44", "sp_x, truth of 15"])
@pytest.mark.parametrize("variant", ["gzip", "crlf", "columns", "hit_id"])
def test_variants_are_the_same_event(tmp_path, layout, variant):
    tables = layouts(SMALL)[layout]
    expected = read(write(tmp_path / "plain", tables))
    if variant == "columns":
        tables = {kind: each[each.columns[::-1]].assign(more="a") for kind, each in tables.items()}
    if variant == "hit_id":
        hits = tables["hits"].assign(hit_id=["40", "20", "30"])
        tables["hits"] = hits.iloc[[2, 0, 1]]
        links = tables["measurement-simhit-map"]
        links["hit_id"] = links.hit_id.map({"0": "40", "1": "20", "2": "30"})
    folder = write(tmp_path / "variant", tables)
    for path in sorted(folder.iterdir()):
        if variant == "crlf":
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        if variant == "gzip":
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    assert_same(read(folder), expected)


@pytest.mark.parametrize("layout", ["15", "44", "sp_x, truth of 15"])
def test_without_truth(tmp_path, layout):
    tables = layouts(SMALL)[layout]
    expected = read(write(tmp_path / "all", tables))
    points = {kind: each for kind, each in tables.items() if kind.startswith("spacepoint")}
    for kinds in ((), ("particles_simulated",)):
        some = {**{kind: tables[kind] for kind in kinds}, "hnl": tables["hnl"], **points}
        format_ = Acts(write(tmp_path / f"with{len(kinds)}", some), {})
        assert not format_.has_truth()
        assert_same(format_.read(0), Event.without_truth(0, expected.space_points))


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (("hits",), "hits"),
        (("measurement-simhit-map",), "measurement-simhit-map"),
        (("particles_simulated",), "particles"),
        (("hits", "particles_simulated"), "hits"),
    ],
)
def test_a_part_of_the_truth_is_not_taken_for_none(tmp_path, missing, named):
    tables = {kind: each for kind, each in frames(SMALL).items() if kind not in missing}
    with pytest.raises(EventFormatError, match=rf"-\S+\.csv: event 0 has no {named}, with which"):
        Acts(write(tmp_path / "some", tables), {}).has_truth()


def test_events_in_order_of_their_numbers(folder):
    for event in (1000000000, 12, 3):
        write(folder, frames(SMALL), event)
    (folder / "event000000003-hits.csv.bak").touch()
    format_ = Acts(folder, {})
    names = [f"event{i}-spacepoint.csv" for i in ("000000000", "000000003", "000000012", 10**9)]
    assert [path.name for path, *_ in format_.files().values()] == names
    assert list(format_.files()) == [0, 3, 12, 10**9]
    assert format_.read(12).event_id == 12
    with pytest.raises(EventFormatError, match="no space points of event 4"):
        format_.read(4)
    # An event is not left out because its space points can't be found.
    (folder / "event000000004-hits.csv").touch()
    with pytest.raises(EventFormatError, match=r"4-hits\.csv: its event has no space points; exp"):
        Acts(folder, {}).files()


def test_which_of_the_files_of_particles_counts(tmp_path):
    """The first in an order, the same in each event."""
    tables = frames(SMALL)
    whole = tables.pop("particles_simulated")
    part = whole.iloc[[1]]
    both = read(write(tmp_path / "a", {**tables, "particles_initial": whole, "particles": part}))
    assert_same(both, read(write(tmp_path / "b", {**tables, "particles_simulated": whole})))
    # Hits of particles that the file need not have belong to nobody.
    for kind in ("particles", "particles_selected"):
        found = read(write(tmp_path / kind, {**tables, kind: part}))
        assert found.particles.particle_id.tolist() == ["4095|2|65535|255|3"]
        assert found.particle_index.tolist() == [-1, -1, 0]
    nobody = read(write(tmp_path / "nobody", {**tables, "particles": whole.iloc[:0]}))
    assert nobody.particle_index.tolist() == [-1, -1, -1] and nobody.particles.empty
    folder = write(tmp_path / "c", {**tables, "particles_initial": whole})
    write(folder, {**tables, "particles": whole}, 1)
    with pytest.raises(EventFormatError, match=r"event000000001-particles_initial\.csv: no such"):
        read(folder, 1)


def test_particles_that_are_not_in_the_file_are_kept_apart(tmp_path):
    """A point of two strips, each hit by the same particle and by another that is not known."""
    event = RawEvent(
        positions=[(3.0, 4.0, 5.0)],
        clusters=[(7, 8)],
        hits_of={7: [0, 1], 8: [0, 2]},
        hits=[0, 1, 2],
        particles=[(1, 0, i, 0, 0) for i in (1, 2, 3)],
        kinematics=[SMALL.kinematics[0]] * 3,
    )
    tables = frames(event)
    tables["particles"] = tables.pop("particles_simulated").iloc[[0]]
    assert read(write(tmp_path, tables)).particle_index.tolist() == [0]


@pytest.mark.parametrize("kind", ["hits", "measurement-simhit-map", "particles_simulated", "hnl"])
def test_truth_is_there_for_each_event_or_for_none(folder, kind):
    write(folder, {k: each for k, each in frames(SMALL).items() if k != kind}, 1)
    format_ = Acts(folder, {})
    assert format_.has_truth() and len(format_.read(0).particles) == 2
    with pytest.raises(EventFormatError, match=rf"event000000001-{kind}\.csv: no such file.* none"):
        format_.read(1)


def test_the_hnl_file_need_not_be_there(tmp_path):
    event = RawEvent(**{**vars(SMALL), "hnl": [SMALL.particles[1]]})
    for release in RELEASES:
        tables = frames(event, release)
        folder = write(tmp_path / release, tables)
        assert read(folder).particles.from_hnl.tolist() == [False, True]
        (folder / "event000000000-hnl.csv").unlink()
        assert read(folder).particles.from_hnl.tolist() == [False, False]


@pytest.mark.parametrize("release", RELEASES)
def test_an_event_without_space_points(tmp_path, release):
    folder = write(tmp_path, frames(RawEvent(), release))
    assert_same(read(folder), Event.without_truth(0, np.empty((0, 3), np.float32)))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("spacepoint", {"y": (1, "")}, "line 3, column y: '', expected a finite number"),
        ("spacepoint", {"z": (2, "nan")}, "line 4, column z: 'nan', expected a finite number"),
        ("spacepoint", {"x": (0, "1e300")}, r"line 2, column x: 1e\+300, expected a position \[mm"),
        ("spacepoint", {"x": None}, r"column x: found 0 times, expected once; found the columns"),
        ("hits", {"particle_id": (1, "-1")}, r"line 3, column particle_id\w*: '-1', expected an"),
        ("hits", {"particle_id": (1, "5")}, r"line 3, column particle_id\w*: 5, .* a particle of"),
        ("hits", {"particle_id": None}, r"column particle_id\w*: found 0 times, expected once"),
        ("measurement-simhit-map", {"hit_id": (3, "3")}, r"line 5, column hit_id: 3, .* has 3"),
        ("particles_simulated", {"vz": (1, "inf")}, "line 3, column vz: 'inf', expected a finite"),
        ("particles_simulated", {"px": (1, "0.0"), "py": (1, "0")}, "line 3, column px: 0.0, exp"),
        (
            "particles_simulated",
            {"particle_type": (1, "1.5")},
            "line 3, .*type: '1.5', expected an",
        ),
        ("particles_simulated", {"q": (0, "1e999")}, "line 2, column q: '1e999', expected a fin"),
    ],
)
def test_bad_values_are_named(tmp_path, release, kind, change, message):
    tables = frames(SMALL, release)
    table = tables[kind]
    for column, value in change.items():
        column = next(name for name in table if name.startswith(column))
        if value is None:
            tables[kind] = table.drop(columns=column)
        else:
            table.loc[value[0], column] = value[1]
    with pytest.raises(EventFormatError, match=rf"event000000000-{kind}\.csv: {message}"):
        read(write(tmp_path, tables))


@pytest.mark.parametrize("release", RELEASES)
def test_a_measurement_that_is_not_in_the_map_is_named(tmp_path, release):
    tables = frames(SMALL, release)
    tables["measurement-simhit-map"].loc[3, "measurement_id"] = "8"
    message = r"-spacepoint\.csv: line 4, column measurement_id\w*: 9, expected a .*simhit-map\.csv"
    with pytest.raises(EventFormatError, match=message):
        read(write(tmp_path, tables))


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", ["spacepoint", "particles_simulated"])
def test_doubled_rows_are_refused(tmp_path, release, kind):
    tables = frames(SMALL, release)
    tables[kind] = pd.concat([tables[kind], tables[kind].iloc[[0]]])
    once = rf"-{kind}\.csv: line \d, column (measurement|particle)_id\w*: .* expected each .* once"
    with pytest.raises(EventFormatError, match=once):
        read(write(tmp_path, tables))


def test_ids_of_hits_are_unique_and_there(tmp_path):
    tables = frames(SMALL)
    tables["hits"]["hit_id"] = ["0", "1", "1"]
    with pytest.raises(EventFormatError, match=r"hits\.csv: line 4, column hit_id: 1.* hit once"):
        read(write(tmp_path, tables))
    tables["hits"]["hit_id"] = ["0", "1", "5"]
    with pytest.raises(
        EventFormatError, match=r"map\.csv: line 4, column hit_id: 2, expected a hit"
    ):
        read(write(tmp_path, tables))


@pytest.mark.parametrize(
    ("kind", "header", "looks"),
    [
        ("spacepoint", "measurement_id,geometry_id,x,y,var_r,var_z", ""),
        ("spacepoint", f"{FIVE},geometry_id,tx,ty,tz", "the hits of ACTS since release 44"),
        ("spacepoint", "hit_id,x,y,z,volume_id,layer_id,module_id", "the hits of TrackML"),
        (
            "hits",
            "particle_id,particle_type,process,vx,px,q",
            "the particles of ACTS before releas",
        ),
        ("hits", "hit_id,geometry_id,x,y,z,t", "the clusters of the CsvPlanarClusterWriter"),
        ("hits", V15, "the space points of ACTS before release 43.3"),
        ("hits", V43, "the space points of ACTS since release 43.3"),
        ("hits", SP_X, "space points as the CsvSpacePointReader of ACTS"),
        ("particles_simulated", "particle_id,geometry_id,tx,ty,tz,tpx", "the hits of ACTS before"),
    ],
)
def test_a_file_of_another_release_or_kind_is_called_by_its_name(folder, kind, header, looks):
    row = ",".join("1" for _ in header.split(","))
    (folder / f"event000000000-{kind}.csv").write_text(f"{header}\n{row}\n")
    message = rf"-{kind}\.csv: .*found the columns '{header[:20]}.*{looks and 'looks like '}{looks}"
    with pytest.raises(EventFormatError, match=message):
        read(folder)


def test_a_damaged_column_is_named_as_in_the_layout_that_is_nearest(folder):
    (folder / POINTS).write_text("measurement_id,sp_x,sp_y\n1,2,3\n")
    with pytest.raises(EventFormatError, match=r"column sp_z: found 0 times"):
        read(folder)
    (folder / POINTS).write_text("measurement_id,x,y,z,x\n1,2,3,4,5\n")
    with pytest.raises(EventFormatError, match=r"column x: found 2 times"):
        read(folder)


@pytest.mark.parametrize("kind", ["spacepoint", "hits", "measurement-simhit-map"])
@pytest.mark.parametrize("damage", ["empty", "cut", "binary", "cut gzip", "bad gzip", "link"])
def test_broken_files_are_named(folder, kind, damage):
    path = folder / f"event000000000-{kind}.csv"
    text = path.read_bytes()
    packed = gzip.compress(text)
    broken = {
        "empty": b"",
        "cut": text[:-3],
        "binary": bytes(range(255, 127, -1)),
        "cut gzip": packed[:-9],
        "bad gzip": packed[:20] + bytes(9) + packed[29:],
        "link": text,
    }
    format_ = Acts(folder, {})
    assert format_.has_truth()
    path.write_bytes(broken[damage])
    if damage == "link":  # to nowhere, after the folder was looked at
        path.unlink()
        path.symlink_to("nowhere")
    with pytest.raises(EventFormatError, match=rf"event000000000-{kind}\.csv: "):
        format_.read(0)


def test_a_file_that_became_a_folder_is_named(folder):
    format_ = Acts(folder, {})
    assert format_.has_truth()
    (folder / POINTS).unlink()
    (folder / POINTS).mkdir()
    with pytest.raises(EventFormatError, match=rf"{POINTS}: can't be read \(Is a directory\)"):
        format_.read(0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(folder):
    (folder / POINTS).chmod(0)
    with pytest.raises(EventFormatError, match=rf"{POINTS}: can't be read \(Permission denied\)"):
        read(folder)


def test_folders_without_events(tmp_path, folder):
    with pytest.raises(EventFormatError, match=r"nowhere: no such folder; expected one with files"):
        Acts(tmp_path / "nowhere", {}).files()
    (folder / POINTS).rename(folder / "event000000000-spacepoints_pixel.csv")
    found = r"spacepoint\.csv .* of ACTS; found event000000000-hits\.csv, .*spacepoints_pixel\.csv"
    with pytest.raises(EventFormatError, match=found):
        Acts(folder, {}).files()
    (tmp_path / "empty").mkdir()
    with pytest.raises(EventFormatError, match="found nothing"):
        Acts(tmp_path / "empty", {}).files()


@pytest.mark.parametrize("name", ["spacepoints.csv", "spacepoint.csv.gz"])
def test_space_points_that_are_there_twice_are_refused(folder, name):
    (folder / f"event000000000-{name}").write_bytes((folder / POINTS).read_bytes())
    with pytest.raises(EventFormatError, match=r"event000000000-spacepoint.* as well; expected"):
        Acts(folder, {}).files()


@settings(max_examples=60, deadline=None)
@given(event=pixel_events(), data=st.data())
def test_damaged_files_are_refused_or_read_but_never_crash(event: RawEvent, data: st.DataObject):
    tables = data.draw(st.sampled_from(list(layouts(event).values())))
    kind = data.draw(st.sampled_from(sorted(tables)))
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name), tables) / f"event000000000-{kind}.csv"
        raw = path.read_bytes()
        start = data.draw(st.integers(0, len(raw)))
        stop = data.draw(st.integers(start, min(len(raw), start + 30)))
        junk = data.draw(
            st.binary(max_size=12)
            | st.sampled_from([b",", b"\n", b"-1", b"1e30", b"nan", b'"', str(UNUSED).encode()])
        )
        path.write_bytes(raw[:start] + junk + raw[stop:])
        try:
            found = read(Path(name))
        except EventFormatError as error:
            assert "event000000000-" in str(error) and "\n" not in str(error)
        else:
            assert np.isfinite(found.space_points).all()
            counts = np.bincount(found.particle_index + 1, minlength=len(found.particles) + 1)[1:]
            assert found.particles.n_space_points.tolist() == counts.tolist()
