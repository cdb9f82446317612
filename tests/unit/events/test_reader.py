from __future__ import annotations

import math
import random
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from acts_csv import HEADERS, N_HNL_EVENTS, UNUSED, RawEvent, raw_events, write_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.events.files import BARCODE_COLUMNS, event_file
from exatrkx_service.events.reader import read_event, read_space_points
from exatrkx_service.events.tables import EventFormatError

# One particle with two hits, the second particle with one; a strip point from both.
SMALL = RawEvent(
    positions=[(3.0, 4.0, 5.0), (-1.0, 0.0, 2.0), (0.0, -2.0, -7.0)],
    clusters=[(7,), (2**64 - 2,), (7, 9)],
    hits_of={7: [0], 2**64 - 2: [1], 9: [2]},
    hits=[0, 0, 1],
    particles=[(1, 0, 1, 0, 0), (1, 1, 2, 0, 0)],
    kinematics=[(0.0, 0.0, 1.0, 3.0, 4.0, 0.0, 1), (3.0, 4.0, 20.0, 0.0, 2.0, -2.0, -1)],
    hnl=[(1, 1, 2, 0, 0)],
)
KINDS = sorted(HEADERS)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write_tables(tmp_path, SMALL.tables())
    return tmp_path


def edit(folder: Path, kind: str, old: str, new: str) -> None:
    path = event_file(folder, 0, kind)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def brute_force_owner(event: RawEvent, point: int) -> int:
    owners = [{event.hits[hit] for hit in event.hits_of[m]} for m in event.clusters[point]]
    common = set.intersection(*owners)
    return common.pop() if len(common) == 1 else -1


def test_small_event(small):
    event = read_event(small, 0)
    assert event.space_points.dtype == np.float32
    assert event.space_points[0] == pytest.approx([5, math.atan2(4, 3), 5])
    assert event.space_points[1] == pytest.approx([1, math.pi, 2])
    assert event.space_points[2] == pytest.approx([2, -math.pi / 2, -7])
    assert event.particle_index.dtype == np.int64
    assert event.particle_index.tolist() == [0, 0, -1]
    particles = event.particles
    assert particles.particle_id.tolist() == ["1|0|1|0|0", "1|1|2|0|0"]
    assert particles.pdg.tolist() == [13, 13]
    assert particles.charge.tolist() == [1, -1]
    assert particles.pt.tolist() == [5, 2]
    assert particles.eta.to_numpy() == pytest.approx([0, -math.asinh(1)])
    assert particles.phi.to_numpy() == pytest.approx([math.atan2(4, 3), math.pi / 2])
    assert particles.vr.tolist() == [0, 5]
    assert particles.vphi.to_numpy() == pytest.approx([0, math.atan2(4, 3)])
    assert particles.vz.tolist() == [1, 20]
    assert particles.from_hnl.tolist() == [False, True]
    assert particles.n_space_points.tolist() == [2, 0]
    types = particles.dtypes
    assert (types["pdg"], types["from_hnl"], types["n_space_points"]) == ("int64", "bool", "int64")


@settings(max_examples=40, deadline=None)
@given(event=raw_events(), shuffler=st.randoms(use_true_random=False))
def test_what_is_written_is_read_in_any_order_of_rows(event: RawEvent, shuffler: random.Random):
    tables = event.tables()
    for kind in ("particles_simulated", "measurement-simhit-map", "hnl"):
        shuffler.shuffle(tables[kind])
    order = list(range(len(event.clusters)))
    shuffler.shuffle(order)
    tables["spacepoint"] = [tables["spacepoint"][i] for i in order]
    with tempfile.TemporaryDirectory() as name:
        write_tables(Path(name), tables)
        read = read_event(Path(name), 0)
        assert np.array_equal(read_space_points(Path(name), 0), read.space_points)
    assert len(read) == len(event.clusters)
    assert read.space_points.shape == (len(order), 3)

    ids = ["|".join(map(str, barcode)) for barcode in event.particles]
    found = read.particles.particle_id.tolist()
    assert sorted(found) == sorted(ids)
    for row, i in enumerate(order):
        x, y, z = event.positions[i]
        r, phi, z_read = map(float, read.space_points[row])
        assert r == pytest.approx(math.hypot(x, y), rel=1e-6, abs=1e-30)
        assert z_read == pytest.approx(z, rel=1e-6, abs=1e-30)
        assert -np.float32(np.pi) < np.float32(phi) <= np.float32(np.pi)
        assert math.cos(phi - math.atan2(y, x)) == pytest.approx(1)
        owner = brute_force_owner(event, i)
        index = read.particle_index[row]
        assert (index < 0) if owner < 0 else (found[index] == ids[owner])
    counts = [int(np.sum(read.particle_index == row)) for row in range(len(found))]
    assert read.particles.n_space_points.tolist() == counts
    hnl = {"|".join(map(str, barcode)) for barcode in event.hnl}
    assert {i for i, flag in zip(found, read.particles.from_hnl, strict=True) if flag} == hnl


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read_but_never_crash(data: st.DataObject):
    """Any damage to any file leads to an event or to an EventFormatError, nothing else."""
    tables = data.draw(raw_events(min_points=1)).tables()
    kind = data.draw(st.sampled_from(KINDS))
    with tempfile.TemporaryDirectory() as name:
        write_tables(Path(name), tables)
        path = event_file(Path(name), 0, kind)
        raw = path.read_bytes()
        start = data.draw(st.integers(0, len(raw)))
        stop = data.draw(st.integers(start, min(len(raw), start + 30)))
        junk = data.draw(
            st.binary(max_size=12)
            | st.sampled_from([b",", b"\n", b"-1", b"1e400", b"inf", b'"', b"1_0", b"\xef\xbb\xbf"])
            | st.integers(-(2**70), 2**70).map(lambda i: str(i).encode())
        )
        path.write_bytes(raw[:start] + junk + raw[stop:])
        try:
            event = read_event(Path(name), 0)
        except EventFormatError as error:
            assert f"event000000000-{kind}.csv" in str(error) or kind in (
                # a changed id or row is noticed where the other file refers to it
                "particles_simulated",
                "hits",
                "measurement-simhit-map",
            )
            assert "\n" not in str(error)
        else:
            assert np.isfinite(event.space_points).all()
            assert (event.particle_index < len(event.particles)).all()


COLUMNS = {
    "spacepoint": ["measurement_id_1", "measurement_id_2", "x", "y", "z"],
    "measurement-simhit-map": ["measurement_id", "hit_id"],
    "hits": list(BARCODE_COLUMNS),
    "particles_simulated": [
        *BARCODE_COLUMNS,
        *("particle_type", "vx", "vy", "vz", "px", "py", "pz", "q"),
    ],
    "hnl": [*BARCODE_COLUMNS, "particle_type"],
}
FIELDS = [(kind, column) for kind, columns in COLUMNS.items() for column in columns]


@pytest.mark.parametrize("value", ["", "nan", "inf", "-inf", "abc", "1.2.3", "1_0", "0x10"])
@pytest.mark.parametrize(("kind", "column"), FIELDS)
def test_bad_value_is_named(small, kind, column, value):
    place = HEADERS[kind].split(",").index(column)
    lines = event_file(small, 0, kind).read_text().splitlines()
    row = lines[-1].split(",")
    row[place] = value
    lines[-1] = ",".join(row)
    event_file(small, 0, kind).write_text("\n".join(lines) + "\n")
    message = f"event000000000-{kind}.csv: line {len(lines)}"
    with pytest.raises(EventFormatError, match=message) as caught:
        read_event(small, 0)
    last = value == "" and place == len(row) - 1  # the row looks too short
    assert last or f"column {column}: {value!r}, expected" in str(caught.value)


@pytest.mark.parametrize("value", ["-1", str(2**64), "1.0", "1e3"])
@pytest.mark.parametrize(("kind", "column"), [f for f in FIELDS if "id" in f[1]])
def test_bad_id_is_named(small, kind, column, value):
    place = HEADERS[kind].split(",").index(column)
    lines = event_file(small, 0, kind).read_text().splitlines()
    row = lines[-1].split(",")
    row[place] = value
    lines[-1] = ",".join(row)
    event_file(small, 0, kind).write_text("\n".join(lines) + "\n")
    with pytest.raises(EventFormatError, match=rf"line {len(lines)}, column {column}: '{value}'"):
        read_event(small, 0)


@pytest.mark.parametrize(("kind", "column"), FIELDS)
def test_missing_and_doubled_columns_are_named(small, kind, column):
    def rename(new: str) -> None:
        names = [new if name == column else name for name in HEADERS[kind].split(",")]
        edit(small, kind, event_file(small, 0, kind).read_text().split("\n")[0], ",".join(names))

    rename("other")
    with pytest.raises(EventFormatError, match=rf"{kind}\.csv: column {column}: found 0 times"):
        read_event(small, 0)
    other = COLUMNS[kind][column == COLUMNS[kind][0]]  # the first, or the second for the first
    rename(other)
    doubled = rf"{kind}\.csv: column ({other}: found 2|{column}: found 0) times"
    with pytest.raises(EventFormatError, match=doubled):
        read_event(small, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_file_is_named(small, kind):
    event_file(small, 0, kind).unlink()
    with pytest.raises(EventFormatError, match=rf"event000000000-{kind}\.csv: no such file"):
        read_event(small, 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["empty", "short", "long", "binary"])
def test_broken_file_is_named(small, kind, damage):
    path = event_file(small, 0, kind)
    text = path.read_text()
    path.write_bytes(
        {
            "empty": b"",
            "short": text.rstrip().rsplit(",", 1)[0].encode() + b"\n",
            "long": text.rstrip().encode() + b",1\n",
            "binary": bytes(range(128, 256)),
        }[damage]
    )
    with pytest.raises(EventFormatError, match=rf"event000000000-{kind}\.csv: "):
        read_event(small, 0)


def double_last_line(path: Path) -> None:
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")


@pytest.mark.parametrize("kind", ["spacepoint", "particles_simulated", "hnl"])
def test_doubled_rows_are_refused(small, kind):
    double_last_line(event_file(small, 0, kind))
    with pytest.raises(EventFormatError, match=rf"{kind}\.csv: line \d, column .* once"):
        read_event(small, 0)


def test_doubled_links_add_nothing(small):
    before = read_event(small, 0).particle_index
    double_last_line(event_file(small, 0, "measurement-simhit-map"))
    assert read_event(small, 0).particle_index.tolist() == before.tolist()


def test_references_to_nowhere_are_refused(small):
    edit(small, "measurement-simhit-map", "9,2", "9,3")
    with pytest.raises(EventFormatError, match=r"map\.csv: line 4, column hit_id: 3.* has 3"):
        read_event(small, 0)
    edit(small, "measurement-simhit-map", "9,3", "8,2")
    with pytest.raises(EventFormatError, match=r"spacepoint\.csv: line 4.*measurement_id_2: 9"):
        read_event(small, 0)
    edit(small, "measurement-simhit-map", "8,2", "9,2")
    edit(small, "hits", "1,1,2,0,0", "1,1,3,0,0")
    with pytest.raises(EventFormatError, match=r"hits\.csv: line 4.*particles_simulated"):
        read_event(small, 0)


def test_space_point_without_measurement_is_refused(small):
    edit(small, "spacepoint", f"\n{2**64 - 2},", f"\n{UNUSED},")
    with pytest.raises(EventFormatError, match="line 3, column measurement_id_1"):
        read_space_points(small, 0)


def test_neighbouring_large_ids_are_kept_apart(small):
    # As float64 the two ids would be the same number.
    edit(small, "measurement-simhit-map", str(2**64 - 2), str(2**64 - 3))
    with pytest.raises(EventFormatError, match=f"measurement_id_1: {2**64 - 2}"):
        read_event(small, 0)


def test_position_beyond_float32_is_refused(small):
    edit(small, "spacepoint", "5.0", "1e300")
    with pytest.raises(EventFormatError, match="line 2, column z"):
        read_space_points(small, 0)


def test_hnl_file_with_another_particle_type_is_refused(small):
    edit(small, "hnl", "0,0,13", "0,0,11")
    with pytest.raises(EventFormatError, match=r"hnl\.csv: line 2, column particle_type: 11"):
        read_event(small, 0)


def test_hnl_file_may_list_particles_that_were_not_simulated(small):
    edit(small, "hnl", "1,1,2,0,0", "1,1,99,0,0")
    assert not read_event(small, 0).particles.from_hnl.any()


def test_space_points_need_no_truth(small):
    expected = read_event(small, 0).space_points
    for kind in KINDS:
        if kind != "spacepoint":
            event_file(small, 0, kind).unlink()
    assert read_space_points(small, 0).tolist() == expected.tolist()


def test_empty_event(tmp_path):
    write_tables(tmp_path, RawEvent().tables())
    event = read_event(tmp_path, 0)
    assert len(event) == 0
    assert event.space_points.shape == (0, 3)
    assert event.space_points.dtype == np.float32
    assert event.particle_index.shape == (0,)
    assert len(event.particles) == 0
    full = RawEvent(particles=SMALL.particles, kinematics=SMALL.kinematics)
    write_tables(tmp_path, full.tables(), event_id=1)
    assert read_event(tmp_path, 1).particles.n_space_points.tolist() == [0, 0]


def test_events_of_acts_are_consistent(hnl_sample):
    for event_id in range(N_HNL_EVENTS):
        event = read_event(hnl_sample, event_id)
        r, phi, z = event.space_points.T
        assert ((r > 30) & (r < 1100)).all()
        assert (np.abs(z) < 3000).all()
        assert (np.abs(phi) <= np.float32(np.pi)).all()
        assert np.mean(event.particle_index >= 0) > 0.9
        seen = event.particles[event.particles.n_space_points > 0]
        assert (seen.charge != 0).all()
        assert seen.pt.min() > 0
        # Independent of the reader's own join: the true position of the hit behind a point.
        tables = {k: pd.read_csv(event_file(hnl_sample, event_id, k)) for k in KINDS}
        links = tables["spacepoint"].merge(
            tables["measurement-simhit-map"].drop_duplicates("measurement_id"),
            left_on="measurement_id_1",
            right_on="measurement_id",
        )
        hits = tables["hits"].iloc[links.hit_id]
        assert np.median(np.hypot(hits.tx.to_numpy() - links.x, hits.ty.to_numpy() - links.y)) < 0.1
