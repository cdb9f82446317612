"""The rule ckf, run for real on two events."""

import pandas as pd
import pytest

from exatrkx_service.baseline.ckf import STEPS, TIME_COLUMNS, TRACK_COLUMNS
from exatrkx_service.events.reader import read_space_points

EVENTS = "results/events/benchmark"


@pytest.fixture(scope="module")
def done(make_checkout):
    """A checkout in which the CKF has run."""
    checkout = make_checkout()
    settings = checkout.overlay("two.yaml", events={"n_events": 2, "chunk_size": 1})
    checkout.run("ckf", "--configfile", settings)
    return checkout


def test_tracks_and_times_are_those_of_the_events(done):
    baseline = done.folder / "results" / "baseline"
    tracks, times = (pd.read_parquet(baseline / f"{name}.parquet") for name in ("tracks", "times"))
    assert (list(tracks), list(times)) == ([*TRACK_COLUMNS], [*TIME_COLUMNS])
    assert times.step.tolist() == [*STEPS] * 2
    for event in range(2):
        points = read_space_points(done.folder / EVENTS, event)
        assert tracks.space_point[tracks.event == event].between(0, len(points) - 1).all()
    assert tracks.event.nunique() == 2


def test_a_second_run_has_nothing_to_do(done):
    assert "Nothing to be done" in done.run("ckf", "--configfile", "two.yaml")


def test_a_missing_file_is_one_clear_error(done):
    file = done.folder / EVENTS / "event000000001-measurements.csv"
    content = file.read_bytes()
    file.unlink()
    try:
        output = done.run("ckf", "--force", "--configfile", "two.yaml", fails=True)
    finally:
        file.write_bytes(content)
    assert "error: " in output and f"{file.name}: can't be read" in output
    assert "Traceback" not in output
