"""What is read of the CSV files of the releases of ACTS."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from acts_csv import N_HNL_EVENTS, RawEvent, write_tables
from acts_releases import (
    RELEASES,
    SMALL,
    SP_X,
    assert_same,
    frames,
    layouts,
    pixel_events,
    read,
    write,
)
from hypothesis import given, settings

from exatrkx_service.events.event import PARTICLE_COLUMNS, Event
from exatrkx_service.events.formats.acts import Acts
from exatrkx_service.events.reader import read_event
from exatrkx_service.events.tables import EventFormatError


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
