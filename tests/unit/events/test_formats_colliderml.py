"""Events of ColliderML: parquet files as its releases have them, whole or damaged."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_events import FEW, KnownEvent, known_events
from pyarrow import parquet

from exatrkx_service.events.formats.colliderml import ColliderML
from exatrkx_service.events.tables import EventFormatError

# Types of release 1.
TYPES = {
    "tracker_hits": {
        "event_id": pa.uint32(),
        **dict.fromkeys(("x", "y", "z", "true_x"), pa.list_(pa.float32())),
        "particle_id": pa.list_(pa.uint64()),
        "volume_id": pa.list_(pa.uint8()),
    },
    "particles": {
        "event_id": pa.uint32(),
        "particle_id": pa.list_(pa.uint64()),
        "pdg_id": pa.list_(pa.int64()),
        **dict.fromkeys(
            ("charge", "px", "py", "pz", "vx", "vy", "vz", "mass"), pa.list_(pa.float32())
        ),
        "parent_id": pa.list_(pa.int64()),
    },
}
NOBODY = 2**64 - 1


def row(known: KnownEvent, event: int = 7) -> dict[str, dict]:
    """One row of each table."""
    ids = [particle[0] for particle in known.particles]
    columns = np.reshape(known.positions, (-1, 3)).T.tolist()
    hits = dict(zip("xyz", columns, strict=True))
    hits |= {"event_id": event, "true_x": hits["x"], "volume_id": [16] * len(hits["x"])}
    hits["particle_id"] = [ids[maker] if maker >= 0 else NOBODY for maker in known.made_by]
    names = ("particle_id", "pdg_id", "charge", "px", "py", "pz", "vx", "vy", "vz")
    particles = {name: [p[i] for p in known.particles] for i, name in enumerate(names)}
    particles |= {"event_id": event, "mass": [0.1] * len(ids), "parent_id": [-1] * len(ids)}
    return {"tracker_hits": hits, "particles": particles}


def save(path: Path, table: str, rows: list[dict], types=None, **options) -> None:
    types = TYPES[table] | (types or {})
    arrays = {n: pa.array([row[n] for row in rows], t) for n, t in types.items() if n in rows[0]}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(arrays), path, **options)


def write(folder: Path, *events: dict[str, dict], name: str = "train-0.parquet", **options) -> Path:
    for table in TYPES:
        rows = [event[table] for event in events]
        save(folder / f"ttbar_pu0_{table}" / name, table, rows, **options)
    return folder


def path_of(folder: Path, table: str, name: str = "train-0.parquet") -> Path:
    return folder / f"ttbar_pu0_{table}" / name


def read(folder: Path, event: int = 7):
    return ColliderML(folder, {}).read(event)


def refusal(folder: Path, event: int = 7) -> str:
    with pytest.raises(EventFormatError) as caught:
        read(folder, event)
    return str(caught.value)


def without(known: KnownEvent, place: int) -> KnownEvent:
    """The event without a particle."""
    made_by = [-1 if n == place else n - (n > place) for n in known.made_by]
    particles = known.particles[:place] + known.particles[place + 1 :]
    return KnownEvent(known.positions, made_by, particles)


@settings(max_examples=40, deadline=None)
@given(known=known_events(max_id=2**63 - 1), other=known_events(max_id=99), group=st.integers(1, 3))
def test_an_event_is_read_as_it_was_written(known, other, group):
    with tempfile.TemporaryDirectory() as name:
        rows = row(other, 9), row(known, 7), row(other, 0)
        reader = ColliderML(write(Path(name), *rows, row_group_size=group), {})
        assert list(reader.files()) == [0, 7, 9] and reader.has_truth()
        for event in (7, 0, 9, 7):
            (known if event == 7 else other).check(reader.read(event))
            assert reader.read(event).event_id == event


def test_other_types_and_columns_give_the_same_event(tmp_path):
    event = row(FEW)
    for table, columns in event.items():
        types = {}
        for name in columns:
            type_ = TYPES[table][name]
            if name == "event_id":
                types[name] = pa.int64()
            elif pa.types.is_floating(type_.value_type):
                types[name] = pa.large_list(pa.float64())
        # Signed ids, as in the first files that were published; -1 is nobody.
        types["particle_id"] = pa.list_(pa.int64())
        signed = [-1 if n == NOBODY else n for n in columns["particle_id"]]
        changed = {"more": ["x"], **dict(reversed(columns.items())), "particle_id": signed}
        types = {"more": pa.list_(pa.string())} | types
        save(path_of(tmp_path, table), table, [changed], types, compression="zstd")
    FEW.check(read(tmp_path))


@pytest.mark.parametrize(
    ("hits", "particles"),
    [
        ("tracker_hits.parquet", "particles.parquet"),
        ("tracker_hits/tracker_hits_000000-001000.parquet", "particles/particles_0-1000.parquet"),
        ("a.v1.reco.tracker_hits.events0-9.parquet", "a.v1.truth.particles.events0-9.parquet"),
        ("data/particles_tracker_hits/0.parquet", "data/tracks_particles/0.parquet"),
    ],
)
def test_files_are_known_by_their_names_or_folders(tmp_path, hits, particles):
    event = row(FEW)
    save(tmp_path / hits, "tracker_hits", [event["tracker_hits"]])
    save(tmp_path / particles, "particles", [event["particles"]])
    # Others are not looked at.
    for name in ("tracks.parquet", "calo_hits/0.parquet", "notes.parquet", "particles.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("anything")
    assert ColliderML(tmp_path, {}).files() == {7: (tmp_path / hits, tmp_path / particles)}
    FEW.check(read(tmp_path))


def test_without_particles_there_is_no_truth(tmp_path):
    hits = row(FEW)["tracker_hits"]
    del hits["particle_id"]
    save(tmp_path / "tracker_hits" / "0.parquet", "tracker_hits", [hits])
    for folder in (tmp_path, tmp_path / "tracker_hits"):
        assert not ColliderML(folder, {}).has_truth()
        FEW.check(read(folder), truth=False)


def test_events_may_be_in_several_files(tmp_path):
    other = without(FEW, 0)
    write(tmp_path, row(FEW, 7), row(other, 3))
    write(tmp_path, row(other, 8), row(FEW, 1), name="train-1.parquet")
    reader = ColliderML(tmp_path, {})
    first, second = (path_of(tmp_path, "tracker_hits", f"train-{n}.parquet") for n in (0, 1))
    assert [(n, files[0]) for n, files in reader.files().items()] == [
        (1, second),
        (3, first),
        (7, first),
        (8, second),
    ]
    for event, known in ((8, other), (7, FEW), (3, other), (1, FEW)):
        known.check(reader.read(event))
    assert refusal(tmp_path, 2) == f"{tmp_path}: no event 2; found 4, from 1 to 8"


def test_events_of_a_group_are_read_from_the_file_once(tmp_path, monkeypatch):
    write(tmp_path, *(row(FEW, event) for event in range(6)), row_group_size=3)
    reader = ColliderML(tmp_path, {})
    reader.files()
    groups = []
    whole = parquet.ParquetFile.read_row_group

    def counted(file, group, **options):
        groups.append(group)
        return whole(file, group, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", counted)
    for event in range(6):
        FEW.check(reader.read(event))
    assert groups == [0, 0, 1, 1]  # of the hits and of the particles


def test_hits_that_were_not_measured_are_left_out(tmp_path):
    event = row(FEW)
    for name in "xyz":
        event["tracker_hits"][name][1] = float("nan")
    write(tmp_path, event)
    keep = [0, 2, 3]
    known = KnownEvent(
        [FEW.positions[n] for n in keep], [FEW.made_by[n] for n in keep], FEW.particles
    )
    known.check(read(tmp_path))
    for name in "xyz":
        event["tracker_hits"][name] = [float("nan")] * 4
    write(tmp_path, event)
    assert "event 7: columns x,y,z: all NaN, expected measured hits" in refusal(tmp_path)


def test_particles_that_are_not_in_the_table_or_along_the_beam_have_no_hits(tmp_path):
    event = row(FEW)
    event["tracker_hits"]["particle_id"][0] = 5
    write(tmp_path, event)
    KnownEvent(FEW.positions, [-1, -1, 0, 1], FEW.particles).check(read(tmp_path))
    event = row(FEW)
    for name in ("px", "py"):
        event["particles"][name][0] = 0.0
    write(tmp_path, event)
    without(FEW, 0).check(read(tmp_path))


def test_what_is_no_folder_of_colliderml_is_refused(tmp_path):
    expected = "expected parquet files of ColliderML whose names or folders have tracker_hits in"
    assert f"{tmp_path}: {expected} them; found nothing" in refusal(tmp_path)
    assert "no such folder; expected one with parquet files" in refusal(tmp_path / "none")
    save(tmp_path / "particles.parquet", "particles", [row(FEW)["particles"]])
    (tmp_path / "tracker_hits.parquet").mkdir()
    assert "found particles.parquet, tracker_hits.parquet" in refusal(tmp_path)


def test_an_empty_table_of_particles_is_not_taken_for_none(tmp_path):
    particles = path_of(write(tmp_path, row(FEW)), "particles")
    parquet.write_table(parquet.read_table(particles)[:0], particles)
    assert refusal(tmp_path).startswith(f"{particles}: no event in it; expected the particles of")


def test_an_event_that_is_there_twice_or_without_its_particles_is_refused(tmp_path):
    write(tmp_path, row(FEW, 7), row(FEW, 8))
    hits, particles = (path_of(tmp_path, table) for table in TYPES)
    save(particles, "particles", [row(FEW, 8)["particles"]])
    assert refusal(tmp_path).startswith(f"{tmp_path}: event 7 is in no file of particles, expected")
    FEW.check(read(tmp_path, 8))
    write(tmp_path, row(FEW, 8), name="train-1.parquet")
    second = path_of(tmp_path, "tracker_hits", "train-1.parquet")
    assert refusal(tmp_path) == f"{second}: event 8 is in {hits} as well; expected each event once"
    second.unlink()
    assert f"event 8 is in {particles} as well" in refusal(tmp_path)


def value(name: str, place: int, new):
    def edit(row: dict) -> None:
        row[name][place] = new

    return edit


@pytest.mark.parametrize(
    ("table", "edit", "types", "message"),
    [
        (0, lambda r: r.pop("x"), {}, "column x: found 0 times, expected once; found the columns"),
        (0, lambda r: r.pop("particle_id"), {}, "column particle_id: found 0 times, expected on"),
        (1, lambda r: r.pop("event_id"), {}, "column event_id: found 0 times, expected once"),
        (1, lambda r: r.pop("vz"), {}, "column vz: found 0 times, expected once; found the col"),
        (0, lambda r: r["y"].pop(), {}, "lists of different lengths: {'x': 4, 'y': 3, 'z': 4"),
        (1, lambda r: r["pz"].append(1), {}, "lists of different lengths: {'particle_id': 3, "),
        (0, lambda r: r.update(y=None), {}, "event 7, column y: a null, expected a list of val"),
        (0, value("y", 1, None), {}, "event 7, column y: a null, expected a list of values"),
        (0, value("particle_id", 0, None), {}, "event 7, column particle_id: a null, expected"),
        (0, lambda r: r.update(event_id=None), {}, "column event_id: None, expected an integer"),
        (
            0,
            lambda r: r.update(event_id=-1),
            {"event_id": pa.int32()},
            "column event_id: -1, expected an integer from 0 on",
        ),
        (
            0,
            lambda r: r.update(event_id="7"),
            {"event_id": pa.string()},
            "event_id: of the type string, expected int",
        ),
        (
            0,
            lambda r: r.update(particle_id=[1.0] * 4),
            {"particle_id": pa.list_(pa.float64())},
            "particle_id: of the type list<element: double>, expected lists of integers",
        ),
        (
            0,
            lambda r: r.update(x=1.0),
            {"x": pa.float32()},
            "x: of the type float, expected lists of fl",
        ),
        (
            1,
            lambda r: r.update(pdg_id=["13"] * 3),
            {"pdg_id": pa.list_(pa.string())},
            "pdg_id: of the type list<element: string>, expected lists of signed integers",
        ),
        (0, value("z", 2, float("nan")), {}, "column x,y,z, place 2 of the list: 0.5, -700.0, nan"),
        (
            0,
            value("x", 0, 1e300),
            {"x": pa.list_(pa.float64())},
            "event 7, column x,y,z, place 0 of the list: 1e+300, 40.0, -5.0, expected a position",
        ),
        (0, value("x", 0, float("inf")), {}, "place 0 of the list: inf, 40.0, -5.0, expected a"),
        (1, value("particle_id", 0, NOBODY), {}, f"place 0 of the list: {NOBODY}, expected an id"),
        (
            1,
            value("particle_id", 1, -3),
            {"particle_id": pa.list_(pa.int64())},
            "column particle_id, place 1 of the list: 18446744073709551613, expected an id from 0",
        ),
        (
            1,
            value("particle_id", 2, 2**62 + 1),
            {},
            "column particle_id, place 2 of the list: 4611686018427387905, expected each particle",
        ),
        (1, value("vx", 2, float("nan")), {}, "column vx, place 2 of the list: nan, expected a f"),
        (1, value("px", 0, float("inf")), {}, "column px, place 0 of the list: inf, expected a f"),
    ],
)
def test_a_damaged_row_is_refused(tmp_path, table, edit, types, message):
    event = row(FEW)
    write(tmp_path, event)
    name = list(TYPES)[table]
    edit(event[name])
    save(path_of(tmp_path, name), name, [event[name]], types)
    found = refusal(tmp_path)
    assert found.startswith(f"{path_of(tmp_path, name)}: ") and message in found


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    write(tmp_path, row(FEW))
    path = path_of(tmp_path, "tracker_hits")
    table = parquet.read_table(path)
    parquet.write_table(table.append_column("x", table["y"]), path)
    assert "column x: found 2 times, expected once" in refusal(tmp_path)


@pytest.mark.parametrize("table", TYPES)
def test_a_file_that_was_cut_off_or_is_no_parquet_is_refused(tmp_path, table):
    write(tmp_path, row(FEW))
    path = path_of(tmp_path, table)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert f"{path}: can't be read (" in refusal(tmp_path)
    for text in (b"event_id,x,y,z\n1,2,3,4\n", b"PAR1" + bytes(50) + b"PAR1"):
        path.write_bytes(text)
        assert "expected a parquet file that is whole" in refusal(tmp_path)


@pytest.mark.parametrize("table", TYPES)
def test_changed_bytes_are_refused_where_they_have_checksums(tmp_path, table):
    write(tmp_path, row(FEW), write_page_checksum=True, use_dictionary=False)
    path = path_of(tmp_path, table)
    whole = path.read_bytes()
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    generator = np.random.default_rng(3)
    refused = 0
    for place in generator.integers(4, pages, 100):
        changed = bytearray(whole)
        changed[place] ^= generator.integers(1, 256)
        path.write_bytes(changed)
        try:
            FEW.check(read(tmp_path))  # the byte is of a column that is not read
        except EventFormatError as error:
            assert f"{path}: can't be read (" in str(error)
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("length", "energy", "message"),
    [
        (1, 1, None),
        (0.1, 1, ": event 7: columns x,y,z: the outermost of 100 space points is 100"),
        (1, 1000, ": event 7: columns px,py,pz: half of 100 particles have momenta above"),
    ],
)
def test_other_units_are_refused(tmp_path, length, energy, message):
    particles = [(i + 1, 13, 1.0, 2.0 * energy, 1.0, 0.0, 0.0, 0.0, 0.0) for i in range(100)]
    positions = [(10.0 * i * length + length * 10, 0.0, 0.0) for i in range(100)]
    known = KnownEvent(positions, list(range(100)), particles)
    write(tmp_path, row(known))
    if message is None:
        known.check(read(tmp_path))
    else:
        assert message in refusal(tmp_path)


def test_what_can_not_be_reached_is_not_left_out(tmp_path):
    events = row(FEW)
    save(tmp_path / "disk" / "0.parquet", "particles", [events["particles"]])
    folder = tmp_path / "sample"
    save(folder / "tracker_hits" / "0.parquet", "tracker_hits", [events["tracker_hits"]])
    (folder / "particles").symlink_to(tmp_path / "disk")
    (folder / "tracker_hits" / "loop").symlink_to(folder)
    assert ColliderML(folder, {}).has_truth()
    FEW.check(read(folder))
    (folder / "particles").unlink()
    (folder / "particles.parquet").symlink_to("nowhere")
    with pytest.raises(EventFormatError, match=r"particles\.parquet: no file, or a link to none"):
        ColliderML(folder, {}).files()
