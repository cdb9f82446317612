"""Events of TrackML: read as they were written, and refused where they are damaged."""

from __future__ import annotations

import gzip
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_events import FEW, KnownEvent, known_events

from exatrkx_service.events.formats.trackml import TrackML
from exatrkx_service.events.tables import EventFormatError

HEADERS = {
    "hits": "hit_id,x,y,z,volume_id,layer_id,module_id",
    "truth": "hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight",
    "particles": "particle_id,particle_type,vx,vy,vz,px,py,pz,q,nhits",
}
STEM = "event000000007-"


def tables(known: KnownEvent) -> dict[str, list[str]]:
    """Rows; the ids of the hits are 2, 5, 8, …"""
    ids = [particle[0] for particle in known.particles]
    hits, truth = [], []
    for place, (position, maker) in enumerate(zip(known.positions, known.made_by, strict=True)):
        xyz = ",".join(map(repr, position))
        hits.append(f"{3 * place + 2},{xyz},8,2,1")
        particle_id = ids[maker] if maker >= 0 else 0
        truth.append(f"{3 * place + 2},{particle_id},{xyz},-1000000,-1000000,1000000,0")
    particles = [
        f"{id_},{kind},{vx},{vy},{vz},{px},{py},{pz},{charge:g},0"
        for id_, kind, charge, px, py, pz, vx, vy, vz in known.particles
    ]
    return {"hits": hits, "truth": truth, "particles": particles}


def write(folder: Path, known: KnownEvent = FEW, stem: str = STEM) -> Path:
    for kind, rows in tables(known).items():
        text = "\n".join([HEADERS[kind], *rows]) + "\n"
        (folder / f"{stem}{kind}.csv").write_text(text)
    return folder


def read(folder: Path, event: int = 7):
    return TrackML(folder, {}).read(event)


def refusal(folder: Path, event: int = 7) -> str:
    with pytest.raises(EventFormatError) as caught:
        read(folder, event)
    return str(caught.value)


def change(path: Path, edit) -> None:
    """Changes a file's cells: a list of rows, the first of them the header."""
    rows = edit([line.split(",") for line in path.read_text().splitlines()])
    path.write_text("".join(",".join(row) + "\n" for row in rows))


@settings(max_examples=40, deadline=None)
@given(known=known_events(max_id=2**64 - 1), seed=st.integers(0, 99))
def test_an_event_is_read_as_it_was_written(known, seed):
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), known)
        change(folder / f"{STEM}truth.csv", lambda rows: shuffled(rows, seed))
        known.check(read(folder))
        assert read(folder).event_id == 7


def shuffled(rows: list, seed: int) -> list:
    return [rows[0], *random.Random(seed).sample(rows[1:], len(rows) - 1)]


def test_variants_of_the_files_give_the_same_event(tmp_path):
    write(tmp_path)
    for path in tmp_path.glob("*.csv"):
        # Columns the other way round, one more, CRLF, gzip.
        change(path, lambda rows: [[*row[::-1], "more"] for row in rows])
        data = path.read_bytes().replace(b"\n", b"\r\n")
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
        path.unlink()
    (tmp_path / f"{STEM}cells.csv").write_text("anything")
    (tmp_path / "blacklist_training").mkdir()
    FEW.check(read(tmp_path))


def test_particles_without_a_type_have_no_pdg(tmp_path):
    write(tmp_path)
    change(tmp_path / f"{STEM}particles.csv", lambda rows: [[r[0], *r[2:]] for r in rows])
    FEW.check(read(tmp_path), pdg=False)


def test_without_files_of_truth_there_is_none(tmp_path):
    write(tmp_path)
    for kind in ("truth", "particles"):
        (tmp_path / f"{STEM}{kind}.csv").unlink()
    assert not TrackML(tmp_path, {}).has_truth()
    FEW.check(read(tmp_path), truth=False)


def test_events_of_a_folder_are_in_order(tmp_path):
    for number in (12, 3, 7):
        write(tmp_path, stem=f"event{number:09d}-")
    trackml = TrackML(tmp_path, {})
    assert trackml.has_truth()
    assert {n: files[0] for n, files in trackml.files().items()} == {
        n: tmp_path / f"event{n:09d}-hits.csv" for n in (3, 7, 12)
    }
    expected = f"{tmp_path}: no event 5; found 3, from 3 to 12"
    assert refusal(tmp_path, 5) == expected


@pytest.mark.parametrize("kind", HEADERS)
def test_a_file_that_only_one_event_lacks_is_missed_by_name(tmp_path, kind):
    write(tmp_path)
    write(tmp_path, stem="event000000008-")
    (tmp_path / f"{STEM}{kind}.csv").unlink()
    assert list(TrackML(tmp_path, {}).files()) == [7, 8]
    FEW.check(read(tmp_path, 8))
    assert refusal(tmp_path) == f"{tmp_path / STEM}{kind}.csv: no such file"


@pytest.mark.parametrize("kind", HEADERS)
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path, kind):
    write(tmp_path)
    path = tmp_path / f"{STEM}{kind}.csv"
    path.unlink()
    path.mkdir()
    assert f"{STEM}{kind}.csv: no file, or a link to none; expected a file" in refusal(tmp_path)


def test_what_is_no_folder_of_trackml_is_refused(tmp_path):
    assert "expected files event…-hits.csv of TrackML, or .csv.gz; found nothing" in refusal(
        tmp_path
    )
    assert "no such folder; expected one with files event" in refusal(tmp_path / "none")
    (tmp_path / "event000000007-spacepoint.csv").touch()
    assert "found event000000007-spacepoint.csv" in refusal(tmp_path)


def test_an_event_that_is_there_twice_is_refused(tmp_path):
    write(tmp_path)
    write(tmp_path, stem="event7-")
    assert "event7-hits.csv: the hits of event 7 are in event000000007-hits.csv" in refusal(
        tmp_path
    )


def cell(row: int, column: str, value: str):
    """Replaces a cell; row 1 is the first after the header."""

    def edit(rows: list) -> list:
        rows[row][rows[0].index(column)] = value
        return rows

    return edit


@pytest.mark.parametrize(
    ("kind", "edit", "message"),
    [
        ("hits", cell(2, "hit_id", "2"), "line 3, column hit_id: 2, expected each hit once"),
        ("hits", cell(2, "hit_id", "-5"), "line 3, column hit_id: '-5', expected an integer"),
        ("hits", cell(1, "x", "nan"), "line 2, column x: 'nan', expected a finite number"),
        ("hits", cell(1, "x", "1e39"), "line 2, column x,y: 1e+39, 40.0, expected a position"),
        ("hits", cell(4, "z", "-1e39"), "line 5, column z: -1e+39, expected a position [mm]"),
        ("hits", cell(0, "x", "y"), "column x: found 0 times, expected once"),
        ("hits", cell(0, "layer_id", "x"), "column x: found 2 times, expected once"),
        ("hits", lambda rows: [*rows, rows[0]], "line 6, column hit_id: 'hit_id', expected"),
        ("hits", lambda rows: rows[:-1], "line 5, column hit_id: 11, expected a hit of"),
        ("truth", lambda rows: rows[:-1], "line 5, column hit_id: 11, expected a hit with a row"),
        ("truth", cell(1, "hit_id", "3"), "line 2, column hit_id: 3, expected a hit of event0"),
        ("truth", cell(3, "hit_id", "2"), "line 4, column hit_id: 2, expected each hit once"),
        # An id that went through a float.
        (
            "truth",
            cell(1, "particle_id", "4611686018427387904"),
            "line 2, column particle_id: 4611686018427387904, expected a particle of event0",
        ),
        (
            "truth",
            cell(1, "particle_id", "4.611686018427388e+18"),
            "line 2, column particle_id: '4.611686018427388e+18', expected an integer (uint64)",
        ),
        ("truth", cell(0, "particle_id", "id"), "column particle_id: found 0 times"),
        ("particles", lambda rows: rows[:1], "column particle_id: 4611686018427387905, expected"),
        (
            "particles",
            cell(2, "particle_id", "4503737066323969"),
            "line 3, column particle_id: 4503737066323969, expected each particle once",
        ),
        ("particles", cell(3, "particle_id", "0"), "line 4, column particle_id: 0, expected an id"),
        (
            "particles",
            cell(3, "px", "0"),
            "line 4, column particle_id,px,py: 4611686018427387906, 0.0, 0.0, expected a tra",
        ),
        ("particles", cell(1, "vz", "inf"), "line 2, column vz: 'inf', expected a finite number"),
        ("particles", cell(1, "particle_type", "mu"), "line 2, column particle_type: 'mu', exp"),
        ("particles", cell(0, "nhits", "particle_type"), "particle_type: found 2 times"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, kind, edit, message):
    write(tmp_path)
    change(tmp_path / f"{STEM}{kind}.csv", edit)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_was_cut_off_is_refused(tmp_path, kind, packed):
    write(tmp_path)
    path = tmp_path / f"{STEM}{kind}.csv"
    whole = path.read_bytes()
    if packed:
        path.unlink()
        path, whole = path.with_name(path.name + ".gz"), gzip.compress(whole)
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        assert f"{STEM}{kind}.csv" in refusal(tmp_path)


@pytest.mark.parametrize("kind", HEADERS)
def test_noise_in_the_place_of_a_file_is_refused(tmp_path, kind):
    write(tmp_path)
    path = tmp_path / f"{STEM}{kind}.csv"
    for seed in range(20):
        path.write_bytes(np.random.default_rng(seed).bytes(200))
        assert f"{path}: " in refusal(tmp_path)


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("other", HEADERS)
def test_a_file_of_another_kind_is_refused(tmp_path, kind, other):
    write(tmp_path)
    text = (tmp_path / f"{STEM}{other}.csv").read_text()
    (tmp_path / f"{STEM}{kind}.csv").write_text(text)
    if kind == other:
        FEW.check(read(tmp_path))
    else:
        assert f"that looks like the {other} of TrackML" in refusal(tmp_path)


def test_hits_of_acts_are_known(hnl_sample):
    assert "looks like the hits of ACTS" in refusal(hnl_sample, 0)


@pytest.mark.parametrize(
    ("length", "energy", "message"),
    [
        (1, 1, None),
        (0.1, 1, "hits.csv: columns x,y,z: the outermost of 100 space points is 100"),
        (1, 1000, "particles.csv: columns px,py,pz: half of 100 particles have momenta above"),
    ],
)
def test_other_units_are_refused(tmp_path, length, energy, message):
    particles = [(i + 1, 13, 1.0, 2.0 * energy, 1.0, 0.0, 0.0, 0.0, 0.0) for i in range(100)]
    positions = [(10.0 * i * length + length * 10, 0.0, 0.0) for i in range(100)]
    known = KnownEvent(positions, list(range(100)), particles)
    write(tmp_path, known)
    if message is None:
        known.check(read(tmp_path))
    else:
        assert message in refusal(tmp_path)
