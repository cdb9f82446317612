"""Files of scaled space points without a header: read as written, or refused."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.events.event import Event
from exatrkx_service.events.formats.features import Features
from exatrkx_service.events.imported import imported_with_columns, write_imported
from exatrkx_service.events.tables import EventFormatError

POINTS = [(0.03125, 0.5, -1.5), (1.2e-1, -0.25, 3e-7), (0.0, 1.0, 0.0), (1.0, -0.999, 2.5)]
TEXT = "".join(f"{r},{phi},{z}\n" for r, phi, z in POINTS)
PI = np.float32(np.pi)


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes, name: str = "event.csv", **settings) -> Event:
        data = content.encode() if isinstance(content, str) else content
        for path in tmp_path.iterdir():
            path.unlink()
        (tmp_path / name).write_bytes(data)
        return Features(tmp_path, settings).read(0)

    return read


def refusal(read, *arguments, **others) -> str:
    with pytest.raises(EventFormatError) as caught:
        read(*arguments, **others)
    return str(caught.value)


def check(event: Event, points, scales=(1000, np.pi, 1000)) -> None:
    expected = (np.reshape(points, (-1, 3)) * scales).astype(np.float32)
    assert event.space_points.dtype == np.float32
    np.testing.assert_array_equal(event.space_points, expected)
    assert event.particle_index.tolist() == [-1] * len(points)
    assert event.event_id == 0 and len(event.particles) == 0


@settings(max_examples=50, deadline=None)
@given(
    points=st.lists(
        st.tuples(st.floats(0, 3), st.floats(-1, 1, exclude_min=True), st.floats(-3, 3)),
        min_size=1,
        max_size=8,
    ),
    separator=st.sampled_from([",", ", ", " ", "\t", "   ", " \t"]),
    extra=st.sampled_from(["", "7", "?"]),
    end=st.sampled_from(["\n", "\r\n"]),
    style=st.sampled_from(["{!r}", "{:.18e}"]),
    packed=st.booleans(),
)
def test_space_points_are_read_as_they_were_written(points, separator, extra, end, style, packed):
    lines = [[*map(style.format, point), *extra] for point in points]
    data = "".join(separator.join(line) + end for line in lines).encode()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "a.csv.gz" if packed else "a.txt")
        path.write_bytes(gzip.compress(data) if packed else data)
        event = Features(Path(name), {}).read(0)
    phi = event.space_points[:, 1]
    assert ((phi > -PI) & (phi <= PI)).all()
    written = [tuple(float(style.format(value)) for value in point) for point in points]
    # The smallest number of float64 above -1 is -1 in float32: the direction of pi.
    if not (event.space_points[:, 1] == PI).any():
        check(event, written)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("\n", "\r\n"),
        TEXT.replace(",", " "),
        TEXT.replace(",", ", "),
        TEXT.replace(",", "\t"),
        "".join(f"  {line}  \n" for line in TEXT.replace(",", "   ").splitlines()),
        TEXT.replace("\n", ",1,x\n"),
        gzip.compress(TEXT.encode()),
        "".join("{:.18e} {:.18e} {:.18e}\n".format(*point) for point in POINTS),
        TEXT.replace("0.12,", "1.2e-01,"),
    ],
)
def test_ways_to_write_the_same(read, text):
    check(read(text), POINTS)


def test_what_numpy_writes_is_read(tmp_path):
    np.savetxt(tmp_path / "numpy.txt", POINTS)
    check(Features(tmp_path, {}).read(0), POINTS)


def test_scales_are_a_setting(read):
    points = [(30.5, -3.0, -1500.0), (700.0, 3.125, 20.0)]
    text = "".join(f"{r} {phi} {z}\n" for r, phi, z in points)
    check(read(text, scales=[1, 1, 1]), points, (1, 1, 1))
    check(read(text, scales=[10, 0.5, 2]), points, (10, 0.5, 2))


@pytest.mark.parametrize(
    "phi", ["1", "-1", "1.0000001", "-1.0000001", "1.0000009", "-1.0000009", "0.99999999999"]
)
def test_rounding_at_pi_stays_within_its_range(read, phi):
    assert read(f"0.1,{phi},0\n").space_points[0, 1] == PI


def test_a_space_point_may_be_there_twice(read):
    assert len(read(TEXT + TEXT)) == 2 * len(POINTS)


def test_events_are_the_files_in_the_order_of_the_numbers_in_their_names(tmp_path):
    names = ["a_2_x.txt", "a_10_x.csv.gz", "a_10_y.csv", "a_010_y.csv", "b.txt.gz", "1.csv"]
    for name in names:
        data = TEXT.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for name in ("a.parquet", "notes.csv.bak", "csv", "more.csv.zip"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    features = Features(tmp_path, {})
    order = ["1.csv", "a_2_x.txt", "a_10_x.csv.gz", "a_010_y.csv", "a_10_y.csv", "b.txt.gz"]
    assert [path.name for (path,) in features.files().values()] == order
    assert list(features.files()) == list(range(6)) and not features.has_truth()
    (tmp_path / "none.csv").symlink_to("nowhere")
    with pytest.raises(EventFormatError, match=r"none\.csv: no file, or a link to none; expected"):
        Features(tmp_path, {}).files()
    event = features.read(4)
    assert event.event_id == 4 and len(event) == len(POINTS)
    with pytest.raises(EventFormatError, match=r": no event 6; found 6, from 0 to 5$"):
        features.read(6)


def test_folders_without_an_event_or_with_one_twice_are_refused(tmp_path):
    def message(folder: Path) -> str:
        with pytest.raises(EventFormatError) as caught:
            Features(folder, {}).files()
        return str(caught.value)

    assert "no such folder" in message(tmp_path / "none")
    assert "expected files *.csv, *.txt, *.csv.gz or *.txt.gz" in message(tmp_path)
    (tmp_path / "a.csv").write_text(TEXT)
    assert "not a folder" in message(tmp_path / "a.csv")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert "a.csv.gz: its event is in a.csv as well" in message(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (TEXT, "", "empty file, expected one space point a line"),
        (TEXT, "\n" + TEXT, "line 1: 0 values, expected r, phi and z"),
        (TEXT, "r,phi,z\n" + TEXT, "line 1: no numbers, that looks like a header; expected r"),
        (TEXT, "# r phi z\n" + TEXT, "found the columns '#,r,phi,z'"),
        (
            TEXT,
            "measurement_id_1,measurement_id_2,x,y,z\n" + TEXT,
            "that looks like the space points of ACTS",
        ),
        (TEXT, "hit_id,x,y,z,volume_id,layer_id,module_id\n", "looks like the hits of TrackML"),
        (TEXT, TEXT.replace(",", "; "), "line 1, column r: '0.03125;', expected a finite number"),
        (TEXT, TEXT.replace(",", ";"), "looks like columns separated by semicolons"),
        (TEXT, TEXT.replace(",", "|"), "looks like columns separated by bars"),
        (TEXT, "1,2\n1,2\n", "line 1: 2 values, expected r, phi and z"),
        (TEXT, "1\n", "line 1: 1 values, expected r, phi and z"),
        (TEXT, TEXT + "\n", "line 5: 1 values, expected 3, as in line 1"),
        (TEXT, TEXT + "1,0,0,0\n", "line 5: 4 values, expected 3, as in line 1"),
        (TEXT, TEXT + "1,0\n", "line 5: 2 values, expected 3, as in line 1"),
        (TEXT, TEXT + "1 0 0\n", "line 5: 1 values, expected 3"),
        (TEXT, TEXT + "r,phi,z\n", "line 5, column r: 'r', expected a finite number"),
        (TEXT, TEXT.replace(",", " ") + "1,0,0\n", "line 5: a comma, expected white space"),
        (TEXT, TEXT[:-1], "line 4: the file ends without a newline"),
        (",-0.25", ",", "line 2, column phi: '', expected a finite number"),
        ("-0.25", "nan", "line 2, column phi: 'nan', expected a finite number"),
        ("-1.5", "inf", "line 1, column z: 'inf', expected a finite number"),
        ("-1.5", "1e39", "line 1, column z: 1e+39, expected a position that fits into float32"),
        ("-1.5", "1e308", "line 1, column z: 1e+308, expected a position that fits"),
        ("0.03125", "1e37", "line 1, column r: 1e+37, expected a position that fits into"),
        ("0.03125", "-1e-9", "line 1, column r: -1e-09, expected a distance from the beam"),
        ("0.03125", "0x1", "line 1, column r: '0x1', expected a finite number"),
        ("-0.999", "-1.00001", "line 4, column phi: -1.00001, expected an angle in (-pi, pi], s"),
        ("-0.999", "1.00001", "by events.features.scales [1000.0, 3.141592653589793, 1000.0]"),
        ("-0.999", "1e308", "line 4, column phi: 1e+308, expected an angle"),
        ("0.5", "0.\0", "line 1: the byte 0x00, expected lines of ASCII text"),
        (TEXT, "\ufeff" + TEXT, "line 1: a byte-order mark (UTF-8)"),
    ],
)
def test_what_is_no_such_file_is_refused(read, old, new, message):
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    assert message in refusal(read, text)
    assert message in refusal(read, gzip.compress(text.encode()), "event.csv.gz")


@pytest.mark.parametrize("separator", [",", " "])
def test_a_part_of_a_file_is_refused_or_has_its_first_rows(read, separator):
    text = TEXT.replace(",", separator)
    for length in range(len(text)):
        if length and text[length - 1] == "\n":
            check(read(text[:length]), POINTS[: text.count("\n", 0, length)])
        else:
            assert "event.csv: " in refusal(read, text[:length])


def test_a_part_of_a_packed_file_and_noise_are_refused(read):
    whole = gzip.compress(TEXT.encode())
    for length in range(len(whole)):
        assert "event.csv: " in refusal(read, whole[:length])
    for seed in range(50):
        assert "event.csv: " in refusal(read, np.random.default_rng(seed).bytes(300))


@pytest.mark.parametrize(
    ("factor", "scales", "message"),
    [
        (1, [1000, np.pi, 1000], None),
        (1000, [1, np.pi, 1], None),
        (1, [1, np.pi, 1], "is 1 from the origin, expected 400 to 20000 mm in a tracker; .* m$"),
        (1000, [1000, np.pi, 1000], "is 1e\\+06 from the origin, .*; that looks like um$"),
    ],
)
def test_other_scales_than_those_of_the_file_are_refused(read, factor, scales, message):
    text = "".join(f"{factor * n / 100},0.5,0\n" for n in range(1, 101))
    if message is None:
        assert len(read(text, scales=scales)) == 100
    else:
        with pytest.raises(EventFormatError, match=message) as caught:
            read(text, scales=scales)
        expected = f"columns r,phi,z, scaled by events.features.scales {[float(s) for s in scales]}"
        assert expected in str(caught.value)


def test_the_header_of_pandas_is_no_space_point(tmp_path):
    for text in ("0,1,2\n0.03,0.5,-0.1\n", "0 1 2 3\n0.03 0.5 -0.1 7\n"):
        (tmp_path / "event.csv").write_text(text)
        with pytest.raises(EventFormatError, match=r"line 1: 0.*the header that pandas writes by"):
            Features(tmp_path, {}).read(0)


def test_what_is_beyond_any_tracker_is_refused_in_small_events_too(tmp_path):
    (tmp_path / "event.csv").write_text("30,0.5,0.1\n")
    with pytest.raises(EventFormatError, match=r"is 30000\.2 from the origin, expected 0 to 20000"):
        Features(tmp_path, {}).read(0)


def test_columns_that_are_asked_for_are_kept_as_they_are(tmp_path):
    lines = [f"0.03,0.5,0.1,{n},{n * 1e-3},text" for n in range(3)]
    (tmp_path / "event.csv").write_text("\n".join(lines) + "\n")
    assert Features(tmp_path, {}).read(0).columns is None
    event = Features(tmp_path, {"columns": 5}).read(0)
    expected = np.array([[0.03, 0.5, 0.1, n, n * 1e-3] for n in range(3)], np.float32)
    np.testing.assert_array_equal(event.columns, expected)
    np.testing.assert_array_equal(event.space_points, Features(tmp_path, {}).read(0).space_points)
    write_imported(tmp_path, event, truth=False)
    again = imported_with_columns(tmp_path, 0)
    np.testing.assert_array_equal(again.columns, expected)
    np.testing.assert_array_equal(again.space_points, event.space_points)
    for columns, message in (
        (6, r"line 1, column column 6: .*text"),
        (7, r"event.csv: line 1: 6 values, expected 7, the columns that server.model.columns asks"),
    ):
        with pytest.raises(EventFormatError, match=message):
            Features(tmp_path, {"columns": columns}).read(0)
    (tmp_path / "event.csv").write_text("0.03,0.5,0.1,1e300\n")
    with pytest.raises(EventFormatError, match=r"line 1, column column 4: .*fits into float32"):
        Features(tmp_path, {"columns": 4}).read(0)
