"""Events from elsewhere are taken in and described."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from known_events import FEW

from exatrkx_service.events.event import Event
from exatrkx_service.events.files import IMPORTED_FILES
from exatrkx_service.events.formats import FORMATS, open_events
from exatrkx_service.events.imported import write_imported
from exatrkx_service.events.manifest import read_manifests, read_sample, write_manifest
from exatrkx_service.events.reader import read_event, read_space_points
from exatrkx_service.events.sample import (
    check_training,
    describe,
    look,
    own_files,
    planned,
    take_in,
)
from exatrkx_service.events.tables import EventFormatError
from exatrkx_service.identity import identify

SCALES = [1000, math.pi, 1000]


def write(folder, *events):
    folder.mkdir(exist_ok=True)
    for number, rows in enumerate(events):
        lines = [",".join(map(str, row)) for row in rows]
        (folder / f"{number}.csv").write_text("".join(f"{line}\n" for line in lines))
    return {
        "source": "features",
        "path": str(folder),
        "n_events": 100,
        "features": {"scales": SCALES},
    }


def take(manifest, settings):
    """As the rule does, when the run was planned just before."""
    take_in(manifest, settings, "c0de", planned(*own_files(settings)))


A, B = [(0.03, 0.5, -0.1), (0.07, -0.25, 2.0)], [(0.5, 0.75, 1.0)]


def test_every_format_of_the_schema_is_there(root):
    from exatrkx_service.config import read_schema

    (_, *names) = read_schema()["properties"]["events"]["properties"]["source"]["enum"]
    assert sorted(FORMATS) == names
    for name in names:
        assert isinstance(open_events({"source": name, "path": "x"}), FORMATS[name])


def test_events_are_taken_in_and_read_again(tmp_path):
    settings = write(tmp_path / "mine", A, B)
    manifest = tmp_path / "out" / "events.json"
    manifest.parent.mkdir()
    take(manifest, settings)
    found = read_sample([manifest])
    assert list(found) == [0, 1]
    expected = np.array([[30, math.pi / 2, -100], [70, -math.pi / 4, 2000]], np.float32)
    np.testing.assert_array_equal(found[0], expected)
    event = read_event(manifest.parent, 0)
    # What runs at home must have the memory layout of what a server is sent.
    assert all(points.flags.c_contiguous for points in (*found.values(), event.space_points))
    assert event.particle_index.tolist() == [-1, -1] and len(event.particles) == 0
    content = json.loads(manifest.read_text())
    assert content["settings"] == settings and content["code_sha256"] == "c0de"
    assert set(content["events"]["0"]) == {"space_points"}


def test_the_first_events_are_taken(tmp_path):
    settings = write(tmp_path / "mine", A, B)
    files, truth = own_files(settings | {"n_events": 1})
    assert files == {0: (tmp_path / "mine" / "0.csv",)} and not truth
    assert list(own_files(settings)[0]) == [0, 1]


def test_the_first_events_can_be_left_out(tmp_path):
    settings = write(tmp_path / "mine", A, B)
    assert list(own_files(settings | {"skip": 1, "n_events": 5})[0]) == [1]
    with pytest.raises(EventFormatError, match="mine: 2 events, of which 2 are skipped; expected"):
        own_files(settings | {"skip": 2})


def test_events_to_train_on_are_not_those_that_are_measured(tmp_path):
    settings, manifest = write(tmp_path / "mine", B, A), tmp_path / "one" / "events.json"
    manifest.parent.mkdir()
    take(manifest, settings | {"n_events": 1})
    copies = write(tmp_path / "copies", A, B)
    plan = planned(*own_files(copies))
    with pytest.raises(EventFormatError) as error:
        take_in(tmp_path / "events.json", copies, "c0de", plan, [manifest])
    assert str(error.value) == (
        "train.path: event 1 has the same space points as event 0 of events.path; expected others "
        "to train on than those that are measured"
    )
    assert not list(tmp_path.glob("event*"))
    first = copies | {"n_events": 1}
    plan = planned(*own_files(first))
    take_in(tmp_path / "events.json", first, "c0de", plan, [manifest])


def test_the_same_folder_is_noticed_before_any_event_is_read(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    measured, training = {"path": str(tmp_path / "mine")}, {"path": str(tmp_path / "link")}
    check_training(training, [2, 3], measured, [0, 1])
    check_training({"path": str(tmp_path)}, [0], measured, [0, 1])
    with pytest.raises(EventFormatError) as error:
        check_training(training, [1, 2, 3], measured, [0, 1])
    assert str(error.value) == (
        f"train.path: {tmp_path}/link is events.path as well, and 1 of its events (from 1 to 1) "
        "would be both trained on and measured; expected train.skip: 2 (events.n_events), or "
        "another folder"
    )


def test_names_that_snakemake_would_misread_are_refused(tmp_path):
    settings = write(tmp_path / "a {b}", A)
    with pytest.raises(EventFormatError, match=r"a \{b\}/0\.csv: braces in its name, which Snake"):
        own_files(settings)


def test_what_was_there_before_goes(tmp_path):
    manifest = tmp_path / "events.json"
    take(manifest, write(tmp_path / "two", A, B))
    take(manifest, write(tmp_path / "one", B))
    assert [path.name for path in tmp_path.glob("*.parquet")] == [
        "event000000000-space_points.parquet"
    ]
    assert list(read_manifests([manifest])) == [0]


def test_a_malformed_event_leaves_what_is_there(tmp_path):
    manifest = tmp_path / "events.json"
    take(manifest, write(tmp_path / "good", A))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    settings = write(tmp_path / "bad", A, [(-1, 0, 0)])
    with pytest.raises(EventFormatError, match=r"bad/1\.csv: line 1, column r: -1"):
        take(manifest, settings)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_an_event_that_is_there_twice_is_refused(tmp_path):
    mine = tmp_path / "mine"
    with pytest.raises(EventFormatError) as error:
        take(tmp_path / "events.json", write(mine, A, B, A))
    assert str(error.value) == (
        f"{mine}/2.csv: event 2 has the same space points as event 0 of {mine}/0.csv; "
        "expected each event once"
    )
    # Events without any are all alike.
    assert not list(tmp_path.glob("*.parquet"))


class Anything:
    """A format that gives what a test puts in."""

    event = None

    def __init__(self, folder, _settings):
        self.folder = folder

    def files(self):
        return {7: (self.folder / "file",)}

    def has_truth(self):
        return len(self.event.particles) > 0

    def read(self, _event):
        return self.event


def test_the_truth_is_kept(tmp_path):
    points = np.array([[1, 0.5, 2]] * len(FEW.positions), np.float32)
    event = Event(7, points, np.array(FEW.made_by, np.int64), FEW.expected())
    found = keep(tmp_path, event)
    np.testing.assert_array_equal(found.space_points, points)
    np.testing.assert_array_equal(found.particle_index, event.particle_index)
    pd.testing.assert_frame_equal(found.particles, event.particles)


def keep(folder, event):
    (folder / "source").mkdir()
    (folder / "source" / "file").touch()
    Anything.event = event
    FORMATS["anything"] = Anything
    try:
        given = {"source": "anything", "path": str(folder / "source"), "n_events": 1}
        take(folder / "events.json", given)
    finally:
        del FORMATS["anything"]
    np.testing.assert_array_equal(read_space_points(folder, 7), event.space_points)
    return read_event(folder, 7)


@pytest.mark.parametrize(
    "point", [(-1, 0, 0), (1, 3.2, 0), (1, -3.2, 0), (math.inf, 0, 0), (1, math.nan, 0)]
)
def test_what_no_format_may_give_is_refused(tmp_path, point):
    event = Event.without_truth(7, np.array([(1, 0, 0), point], np.float32))
    with pytest.raises(EventFormatError, match="source/file: space point 2: r "):
        keep(tmp_path, event)
    assert not list(tmp_path.glob("event*"))


@pytest.mark.parametrize("change", ["times", "place", "new", "gone"])
def test_what_changes_after_the_run_was_planned_is_noticed(tmp_path, change):
    mine = tmp_path / "mine"
    settings = write(mine, A, B)
    before = planned(*own_files(settings))
    assert planned(*own_files(settings)) == before
    if change == "times":
        os.utime(mine / "1.csv", (1, 1))
    if change == "place":  # as a file that is moved there, with the same time and size
        state = (mine / "1.csv").stat()
        (tmp_path / "other.csv").write_text((mine / "1.csv").read_text().replace("0.75", "0.25"))
        os.utime(tmp_path / "other.csv", ns=(state.st_atime_ns, state.st_mtime_ns))
        (tmp_path / "other.csv").replace(mine / "1.csv")
    if change == "new":
        (mine / "2.csv").write_text("0.1,0.2,0.3\n")
    if change == "gone":
        (mine / "1.csv").unlink()
    assert planned(*own_files(settings)) != before
    with pytest.raises(EventFormatError, match="mine: files came, went or changed since the run"):
        take_in(tmp_path / "events.json", settings, "c0de", before)
    assert not list(tmp_path.glob("event*"))


def test_a_folder_that_is_gone_is_remembered_by_what_was_read_from_it(tmp_path):
    settings, manifest = write(tmp_path / "mine", A, B), tmp_path / "out" / "events.json"
    manifest.parent.mkdir()
    there = look(settings, manifest)
    assert not there.gone and there.plan == planned(*own_files(settings))
    take(manifest, settings)
    (tmp_path / "mine").rename(tmp_path / "moved")
    assert look(settings, manifest) == replace(there, gone=True)
    for others in (
        {"n_events": 1},
        {"features": {"scales": [1, 1, 1]}},
        {"path": str(tmp_path / "other")},
    ):
        with pytest.raises(EventFormatError, match="no such folder; expected one with"):
            look(settings | others, manifest)
    (tmp_path / "mine").mkdir()
    assert look(settings, manifest).gone
    (tmp_path / "mine" / "notes.md").touch()
    with pytest.raises(EventFormatError, match=r"found notes\.md"):
        look(settings, manifest)
    (tmp_path / "mine" / "notes.md").unlink()
    (tmp_path / "mine").rmdir()
    (tmp_path / "mine").touch()
    with pytest.raises(EventFormatError, match="mine: not a folder; expected one with"):
        look(settings, manifest)
    (tmp_path / "mine").unlink()
    (manifest.parent / "source.json").write_text("{")
    with pytest.raises(EventFormatError, match="no such folder"):
        look(settings, manifest)


def test_files_of_others_stay(tmp_path):
    (tmp_path / "event000000001-hits.csv").touch()
    (tmp_path / "event_notes").mkdir()
    take(tmp_path / "events.json", write(tmp_path / "mine", A))
    assert (tmp_path / "event000000001-hits.csv").exists() and (tmp_path / "event_notes").exists()


def test_a_sample_is_described(tmp_path):
    points = np.array([[30, -3, -100], [70, 0.5, 2000]], np.float32)
    particles = FEW.expected()
    events = [
        Event(3, points, np.array([0, -1]), particles),
        Event(9, points[:1], np.array([0]), particles.iloc[:1]),
    ]
    for event in events:
        write_imported(tmp_path, event, truth=True)
    manifest = tmp_path / "events.json"
    write_manifest(manifest, {}, [3, 9], "c0de", IMPORTED_FILES)
    assert describe([manifest], {"source": "acts", "path": "mine"}) == {
        "events_sha256": identify([manifest], {})["events_sha256"],
        "source": "acts",
        "path": "mine",
        "n_events": 2,
        "first_event": 3,
        "last_event": 9,
        "truth": True,
        "space_points": {"mean": 1.5, "min": 1, "max": 2},
        "r_mm": {"min": 30, "max": 70},
        "phi_rad": {"min": -3, "max": 0.5},
        "z_mm": {"min": -100, "max": 2000},
        "particles_mean": (len(particles) + 1) / 2,
        "matched": pytest.approx(2 / 3),
    }


def test_a_sample_without_truth_is_described(tmp_path):
    write_imported(tmp_path, Event.without_truth(0, np.empty((0, 3), np.float32)), truth=False)
    manifest = tmp_path / "events.json"
    write_manifest(manifest, {}, [0], "c0de", IMPORTED_FILES[-1:])
    empty = describe([manifest], {"source": "features"})
    assert empty["path"] is None and empty["r_mm"] == {"min": None, "max": None}
    assert not empty["truth"] and "matched" not in empty
