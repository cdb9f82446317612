"""Track finders that are called, the CKF and one's own, run for real on two events."""

import os

import pandas as pd
import pytest

from exatrkx_service.baseline.ckf import STEPS, TIME_COLUMNS, TRACK_COLUMNS
from exatrkx_service.events.reader import read_space_points
from exatrkx_service.finders.entry_point import STEP

EVENTS = "results/events/benchmark"
MINE = "results/methods/mine/tracks.parquet"
FINDER = """
def finder(k):
    return lambda points: [[0, k]]
"""


@pytest.fixture(scope="module")
def done(make_checkout):
    """A checkout in which the CKF and another finder have run."""
    checkout = make_checkout()
    (checkout.folder / "mine.py").write_text(FINDER)
    (checkout.folder / "cuts.txt").touch()
    mine = {"finder": "mine.py:finder", "settings": {"k": 3}, "files": ["cuts.txt"]}
    settings = checkout.overlay(
        "two.yaml", events={"n_events": 2, "chunk_size": 1}, physics={"methods": {"mine": mine}}
    )
    checkout.run("ckf", MINE, "--configfile", settings)
    return checkout


def results(done, folder):
    folder = done.folder / "results" / folder
    return [pd.read_parquet(folder / f"{name}.parquet") for name in ("tracks", "times")]


def planned(done, *more):
    plan = done.run("--dry-run", "ckf", MINE, "--configfile", "two.yaml", *more)
    return "Finding the tracks with mine" in plan


def test_tracks_and_times_are_those_of_the_events(done):
    tracks, times = results(done, "baseline")
    assert (list(tracks), list(times)) == ([*TRACK_COLUMNS], [*TIME_COLUMNS])
    assert times.step.tolist() == [*STEPS] * 2
    for event in range(2):
        points = read_space_points(done.folder / EVENTS, event)
        assert tracks.space_point[tracks.event == event].between(0, len(points) - 1).all()
    assert tracks.event.nunique() == 2
    tracks, times = results(done, "methods/mine")
    assert tracks.to_numpy().tolist() == [[0, 0, 0], [0, 0, 3], [1, 0, 0], [1, 0, 3]]
    assert times.step.tolist() == [STEP] * 2 and (times.duration_ns > 0).all()


def test_a_second_run_has_nothing_to_do(done):
    assert "Nothing to be done" in done.run("ckf", MINE, "--configfile", "two.yaml")


@pytest.mark.parametrize(("name", "text"), [("mine.py", FINDER + "\n"), ("cuts.txt", "1")])
def test_a_finder_of_other_files_is_run_again(done, name, text):
    file = done.folder / name
    before = file.read_text()
    file.write_text(text)
    os.utime(file, (0, 0))  # replaced by an older one
    assert planned(done)
    file.write_text(before)
    assert not planned(done)


def test_a_finder_with_other_settings_is_run_again(done):
    overlay = done.overlay("k.yaml", physics={"methods": {"mine": {"settings": {"k": 4}}}})
    assert planned(done, overlay)


def test_what_a_finder_raises_is_one_clear_error(done):
    (done.folder / "wrong.py").write_text(FINDER.replace("[[0, k]]", "points[k]"))
    overlay = done.overlay(
        "wrong.yaml", physics={"methods": {"wrong": {"finder": "wrong.py:finder"}}}
    )
    arguments = ("--configfile", "two.yaml", overlay)
    output = done.run("results/methods/wrong/tracks.parquet", *arguments, fails=True)
    expected = "error: physics.methods.wrong.finder: wrong.py:finder: called with the settings {}: "
    assert expected + "TypeError: finder() missing 1 required positional" in output
    assert "Traceback" not in output
    assert not (done.folder / "results/methods/wrong").exists()
    assert "Traceback" in (done.folder / "results/logs/methods/wrong.log").read_text()
    assert not list(done.temporary.iterdir())


def test_a_missing_file_is_one_clear_error(done):
    file = done.folder / EVENTS / "event000000001-measurements.csv"
    content = file.read_bytes()
    file.unlink()
    try:
        output = done.run("ckf", "--forcerun", "run_finder", "--configfile", "two.yaml", fails=True)
    finally:
        file.write_bytes(content)
    assert "error: " in output and f"{file.name}: can't be read" in output
    assert "Traceback" not in output
