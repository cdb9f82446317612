"""Track finders in Python: how they are loaded, called, timed and refused."""

import sys
import time

import numpy as np
import pandas as pd
import pytest

from exatrkx_service.finders.entry_point import STEP, FinderError, as_tracks, find_tracks, load

POINTS = np.array([[30, 0.1, 5], [70, 0.1, 12], [110, 0.1, 19], [30, 2, -9]], np.float32)
EVENTS = {0: POINTS, 1: POINTS[:0], 2: POINTS[:3]}


@pytest.fixture
def module(tmp_path):
    """Writes a file of Python; gives the name of its function ``finder``."""

    def write(text: str) -> str:
        (tmp_path / "mine.py").write_text(text)
        return f"{tmp_path}/mine.py:finder"

    return write


def rows(found, n_points):
    table = as_tracks(found, 5, n_points)
    assert (table.event == 5).all() and (table.dtypes == np.int64).all()
    return table[["track", "space_point"]].to_numpy()


def error(name: str, **settings) -> str:
    with pytest.raises(FinderError) as caught:
        load(name, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_and_tracks_are_the_same_tracks():
    expected = [[0, 0], [0, 2], [1, 1]]
    for dtype in (np.int64, np.int32, np.int8):
        assert rows(np.array([0, 1, 0, -1], dtype), 4).tolist() == expected
    assert rows([[0, 2], (1,)], 4).tolist() == expected
    assert rows((np.array([0, 2], np.uint8), np.array([1])), 4).tolist() == expected
    assert rows([[], [0, 1], [1, 2]], 3).tolist() == [[1, 0], [1, 1], [2, 1], [2, 2]]
    for nothing in ([], [[]], np.empty(0, int)):
        assert rows(nothing, 0).shape == (0, 2)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "gave a NoneType, expected an array of labels or a list of tracks"),
        (np.zeros(3, int), r"an array of int64 of shape \(3,\), expected labels: .* shape \(4,\)"),
        (np.zeros((4, 1), int), r"gave an array of int64 of shape \(4, 1\), expected labels"),
        (np.array([0, np.nan, 0, 0]), r"an array of float64 of shape \(4,\), expected labels"),
        (np.zeros(4, bool), "gave an array of bool of shape"),
        (np.array([0, 0, -2, -1]), r"gave the label -2, expected -1 \(on no track\) or more"),
        (np.array([0, 0, 2**63, 0], np.uint64), "gave the label 9223372036854775808, expected -1"),
        ([0, 0, 1, 1], "track 0 is a int, expected a list of rows of space points"),
        ([[0, 1.5]], "track 0 is a list, expected a list of rows"),
        ([[0], [float("nan")]], "track 1 is a list, expected a list of rows"),
        ([[0, 4]], "track 0 has the space point 4, expected 0 to 3"),
        ([[0], [-1, 1]], "track 1 has the space point -1, expected 0 to 3"),
        ([[1, 0, 1]], "track 0 has a space point twice"),
        ([[True, False]], "track 0 is a list"),
        ([[[0, 1]]], "track 0 is a list"),
        ([["a"]], "track 0 is a list"),
        ([[[0], [1, 2]]], "track 0 is a list"),
        ((track for track in [[0]]), "gave a generator, expected"),
        ({0: [1]}, "gave a dict, expected"),
    ],
)
def test_what_is_neither_labels_nor_tracks_is_refused(found, message):
    with pytest.raises(FinderError, match=message):
        rows(found, 4)


def test_every_event_is_found_and_timed():
    seen = []

    def find(points):
        seen.append(points.copy())
        points[:] = 0  # an array of its own
        return np.arange(len(points)) % 2

    tracks, times = find_tracks(find, EVENTS)
    assert [len(points) for points in seen] == 2 * [4, 0, 3]  # the warm-up, then those that count
    assert all((points == EVENTS[n % 3]).all() for n, points in enumerate(seen))
    assert tracks.to_numpy().tolist() == [
        *([0, 0, 0], [0, 0, 2], [0, 1, 1], [0, 1, 3]),
        *([2, 0, 0], [2, 0, 2], [2, 1, 1]),
    ]
    assert times.event.tolist() == [0, 1, 2] and set(times.step) == {STEP}
    assert (times.duration_ns > 0).all()


def test_the_call_alone_is_timed():
    def find(points):
        time.sleep(0.01)
        return [[i] for i in range(len(points))]

    begin = time.perf_counter_ns()
    _, times = find_tracks(find, EVENTS)
    assert 3 * 10_000_000 <= times.duration_ns.sum() < time.perf_counter_ns() - begin


def test_what_a_finder_raises_is_told_with_its_event_and_line(module):
    find = load(
        module("def finder():\n  def find(points):\n    return points[9]\n  return find"), {}
    )
    expected = r"^event 2 with 3 space points: IndexError: index 9 .* \(mine.py, line 3\)$"
    with pytest.raises(FinderError, match=expected):
        find_tracks(find, {2: POINTS[:3]})
    with pytest.raises(FinderError, match="event 2: gave a NoneType, expected"):
        find_tracks(lambda points: None if len(points) == 3 else [], EVENTS)

    def leave(points):
        raise SystemExit(0)

    with pytest.raises(FinderError, match="event 0 with 4 space points: SystemExit: 0"):
        find_tracks(leave, EVENTS)


def test_settings_are_arguments_and_what_lies_beside_can_be_imported(module, tmp_path):
    (tmp_path / "beside_mine.py").write_text("n = 3")
    name = module(
        "import beside_mine\n"
        "class finder:\n"
        "  def __init__(self, k=1): self.k = k * beside_mine.n\n"
        "  def __call__(self, points): return self.k\n"
    )
    assert load(name, {})(POINTS) == 3
    assert load(name, {"k": 2})(POINTS) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package", "can't be imported: ModuleNotFoundError: No module named 'no_s"),
        ("def finder(:", "can't be imported: SyntaxError: "),
        ("1 / 0", "can't be imported: ZeroDivisionError: division by zero (mine.py, line 1)"),
        ("exit()", "can't be imported: SystemExit: "),
        ("def other(): pass", "finder: no such function or class, expected one of other"),
        ("finder = 3", "finder: no such function or class, expected one of some"),
        ("def finder(): return [1]", "called with the settings it gave a list, expected a functi"),
        ("def finder(points): pass", "called with the settings {}: TypeError: finder() missing 1"),
        ("def finder(): raise OSError('no\\nmodel')", "{}: OSError: no model (mine.py, line 1)"),
    ],
)
def test_a_finder_that_cannot_be_used_is_told(module, text, message):
    assert message in error(module(text))


def test_a_file_with_the_name_of_a_library_does_not_take_its_place(tmp_path):
    (tmp_path / "pandas.py").write_text("def finder():\n    return lambda points: []\n")
    find = load(f"{tmp_path}/pandas.py:finder", {})
    assert find(None) == [] and sys.modules["pandas"] is pd
    sys.path.remove(str(tmp_path))


def test_a_wrong_setting_and_a_module_that_is_not_there_are_told(module):
    text = error(module("def finder(k): return lambda points: []"), K=1)
    assert "called with the settings {'K': 1}: TypeError: finder() got an unexpected key" in text
    assert error("no_such.module:find") == (
        "can't be imported: ModuleNotFoundError: No module named 'no_such'"
    )
    assert "find: no such function or class, expected one of " in error("json:find")
