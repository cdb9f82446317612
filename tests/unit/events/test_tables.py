"""CSV files of events that are cut off, of another kind, or written by something else than ACTS."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from acts_csv import HEADERS, RawEvent, raw_events, write_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.events.files import EVENT_FILES, event_file
from exatrkx_service.events.reader import read_event, read_measurements
from exatrkx_service.events.tables import EventFormatError, read_table

COLUMNS = {"hit_id": np.uint64, "x": np.float64, "key": str}
WHOLE = "hit_id,x,key\n1,1.25,a\n20,-3e-7,b\n300,0,c\n"


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes, kind: str = "hits", columns=COLUMNS) -> pd.DataFrame:
        path = tmp_path / f"event-{kind}.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(path, kind, columns)

    return read


def refusal(read, *arguments, **others) -> str:
    with pytest.raises(EventFormatError) as caught:
        read(*arguments, **others)
    return str(caught.value)


def test_types_of_columns(read):
    table = read(WHOLE)
    assert table["hit_id"].dtype == np.uint64 and table["hit_id"].tolist() == [1, 20, 300]
    assert table["x"].dtype == np.float64 and table["x"].tolist() == [1.25, -3e-7, 0]
    assert table["key"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_part_of_a_file_is_refused_or_has_its_first_rows(read, length):
    part = WHOLE[:length]
    if part.endswith("\n"):
        pd.testing.assert_frame_equal(read(part), read(WHOLE)[: part.count("\n") - 1])
    else:
        assert "event-hits.csv: " in refusal(read, part)


@settings(max_examples=60, deadline=None)
@given(event=raw_events(min_points=1), data=st.data())
def test_an_event_of_which_a_file_was_cut_is_refused_or_has_whole_rows(event, data):
    kind = data.draw(st.sampled_from(sorted(HEADERS)))
    with tempfile.TemporaryDirectory() as name:
        write_tables(Path(name), event.tables())
        path = event_file(Path(name), 0, kind)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        try:
            read_event(Path(name), 0)
        except EventFormatError:
            pass
        else:
            assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("kind", EVENT_FILES)
def test_a_file_without_a_newline_at_its_end_is_refused(hnl_sample, tmp_path, kind):
    """ACTS reads such a file without its last row."""
    for each in EVENT_FILES:
        shutil.copy(event_file(hnl_sample, 0, each), tmp_path)
    path = event_file(tmp_path, 0, kind)
    text = path.read_text()
    path.write_text(text[:-1])
    with pytest.raises(EventFormatError) as caught:
        read_event(tmp_path, 0)
        read_measurements(tmp_path, 0)
    n_lines = len(text.splitlines())
    expected = f"{path}: line {n_lines}: the file ends without a newline, expected one"
    assert expected in str(caught.value)


def test_lines_may_end_in_crlf(read):
    pd.testing.assert_frame_equal(read(WHOLE.replace("\n", "\r\n")), read(WHOLE))
    mixed = WHOLE.replace("\n", "\r\n", 2)
    pd.testing.assert_frame_equal(read(mixed), read(WHOLE))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"20", b"2\r0", "line 3: the byte 0x0d, expected lines of ASCII text"),
        (b"\n", b"\r", "line 1: the byte 0x0d, expected lines of ASCII text"),
        (b"0,c", b"0\0,c", "line 4: the byte 0x00, expected lines of ASCII text"),
        (b"20,", b"20\0\0", "line 3: the byte 0x00, expected lines of ASCII text"),
        (b"b", "µ".encode(), "line 3: the byte 0xc2, expected lines of ASCII text"),
        (b"hit", b"\xef\xbb\xbfhit", "line 1: a byte-order mark (UTF-8), expected"),
        (WHOLE.encode(), WHOLE.encode("utf-16"), "line 1: the byte 0xff, expected lines of ASCII"),
        (b"20,", b"\n20,", "line 3: 1 values, expected 3"),
        (b"c\n", b"c\n\n", "line 5: 1 values, expected 3"),
        (b",b", b"", "line 3: 2 values, expected 3"),
        (b",b", b",b,", "line 3: 4 values, expected 3"),
        (b"20", b'"20"', "line 3, column hit_id: '\"20\"', expected an integer (uint64)"),
        (b"20", b"20.0", "line 3, column hit_id: '20.0', expected an integer (uint64)"),
        (b"20", b"5.04E+17", "line 3, column hit_id: '5.04E+17', expected an integer (uint64)"),
        (b"20", b"0x14", "line 3, column hit_id: '0x14', expected an integer (uint64)"),
        (b"-3e-7", b"", "line 3, column x: '', expected a finite number"),
        (b"-3e-7", b"NaN", "line 3, column x: 'NaN', expected a finite number"),
        (b"-3e-7", b"1" * 5000, "line 3, column x: '111111111111...1111111111111', expected"),
    ],
)
def test_what_is_no_table_is_refused(read, old, new, message):
    assert old in WHOLE.encode()
    assert message in refusal(read, WHOLE.encode().replace(old, new, 1))


@given(order=st.permutations(["hit_id", "x", "key", "extra", "more"]))
def test_columns_may_be_in_any_order_and_among_others(order):
    rows = [dict(zip(COLUMNS, line.split(","), strict=True)) for line in WHOLE.split()[1:]]
    lines = [order, *([row.get(name, "?") for name in order] for row in rows)]
    with tempfile.TemporaryDirectory() as name:
        for file, text in (("a", WHOLE), ("b", "".join(",".join(line) + "\n" for line in lines))):
            Path(name, file).write_text(text)
        a, b = (read_table(Path(name, file), "hits", COLUMNS) for file in "ab")
    pd.testing.assert_frame_equal(a, b)


@pytest.mark.parametrize(
    ("lines", "looks"),
    [
        # Headers as they are in CsvOutputData.hpp of the release of ACTS, and of TrackML's files.
        (HEADERS["spacepoint"], "the space points of ACTS"),
        (
            "measurement_id,geometry_id,x,y,z,var_r,var_z",
            "the space points of ACTS before release 43.3",
        ),
        (
            "measurement_id,sp_x,sp_y,sp_z,sp_radius,sp_covr,sp_covz,sp_topHalfStripLength",
            "space points as the CsvSpacePointReader of ACTS takes them",
        ),
        (
            "measurement_id,geometry_id,local_key,local0,local1,phi,theta,time,var_local0",
            "the measurements of ACTS",
        ),
        (HEADERS["measurement-simhit-map"], "the map from measurements to hits of ACTS"),
        ("geometry_id,measurement_id,channel0,channel1,timestamp,value", "the cells of ACTS"),
        (HEADERS["hits"], "the hits of ACTS"),
        (HEADERS["particles_simulated"], "the particles of ACTS"),
        (HEADERS["hnl"], "the list of the HNL's decay products"),
        (
            "particle_id,geometry_id,tx,ty,tz,tt,tpx,tpy,tpz,te,deltapx,deltapy,deltapz,deltae",
            "the hits of ACTS before release 44",
        ),
        (
            "particle_id,particle_type,process,vx,vy,vz,vt,px,py,pz,m,q",
            "the particles of ACTS before release 44",
        ),
        ("hit_id,x,y,z,volume_id,layer_id,module_id", "the hits of TrackML"),
        ("hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight", "the truth of TrackML"),
        ("particle_id,vx,vy,vz,px,py,pz,q,nhits", "the particles of TrackML"),
        ("hit_id,ch0,ch1,value", "the cells of TrackML"),
        ("0,504403295704450048,\x06,-1.06,-1.25,0", "a file without a header"),
        ("wanted;x;y\n1;2,5;3,5", "columns separated by semicolons"),
        ("wanted\tx\ty\n1\t2\t3", "columns separated by tabs"),
        ("wanted x y\n1 2 3", "columns separated by spaces"),
        ('"wanted","x","y"', "wanted in quotes, with spaces or in capitals"),
        ("x, wanted, y", "wanted in quotes, with spaces or in capitals"),
        ("Wanted,X,Y", "wanted in quotes, with spaces or in capitals"),
    ],
)
def test_a_missing_column_says_what_the_file_looks_like(read, lines, looks):
    message = refusal(read, lines + "\n", columns={"wanted": str})
    header = lines.split("\n")[0]
    expected = f"column wanted: found 0 times, expected once; found the columns {header!r}: that "
    assert f"{expected}looks like {looks}" in message


def test_an_unknown_header_is_shown_and_a_long_one_is_cut(read):
    assert refusal(read, "a,b\n1,2\n").endswith("expected once; found the columns 'a,b'")
    message = refusal(read, ",".join(f"column{i}" for i in range(1000)) + "\n")
    assert "'column0,column1," in message and "…'" in message and len(message) < 600


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("other", HEADERS)
def test_a_file_of_another_kind_is_refused(tmp_path, kind, other):
    """Also where it has the columns: each file with barcodes would do for the hits."""
    tables = RawEvent(
        particles=[(1, 0, 1, 0, 0)], kinematics=[(0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 1)], hits=[0]
    ).tables()
    write_tables(tmp_path, tables)
    read_event(tmp_path, 0)
    shutil.copy(event_file(tmp_path, 0, other), tmp_path / "copy")
    shutil.copy(tmp_path / "copy", event_file(tmp_path, 0, kind))
    if other == kind:
        read_event(tmp_path, 0)
    else:
        with pytest.raises(EventFormatError, match=rf"-{kind}\.csv: .*looks like the .*"):
            read_event(tmp_path, 0)
