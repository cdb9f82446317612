"""Which CSV files of ACTS are refused, and what is said of them."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from acts_csv import UNUSED, RawEvent
from acts_releases import (
    FIVE,
    POINTS,
    RELEASES,
    SMALL,
    SP_X,
    V15,
    V43,
    frames,
    layouts,
    pixel_events,
    read,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.events.formats.acts import Acts
from exatrkx_service.events.tables import EventFormatError


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


@pytest.mark.parametrize("kind", ["hits", "measurement-simhit-map", "particles_simulated", "hnl"])
def test_truth_is_there_for_each_event_or_for_none(folder, kind):
    write(folder, {k: each for k, each in frames(SMALL).items() if k != kind}, 1)
    format_ = Acts(folder, {})
    assert format_.has_truth() and len(format_.read(0).particles) == 2
    with pytest.raises(EventFormatError, match=rf"event000000001-{kind}\.csv: no such file.* none"):
        format_.read(1)


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
