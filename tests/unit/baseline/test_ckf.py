"""The CKF of ACTS on a few generated events."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from exatrkx_service.baseline.__main__ import main
from exatrkx_service.baseline.ckf import STEPS, TIME_COLUMNS, TRACK_COLUMNS, find_tracks
from exatrkx_service.baseline.settings import LARGE_RADIUS
from exatrkx_service.events.files import event_file
from exatrkx_service.events.generate import generate
from exatrkx_service.events.reader import read_event
from exatrkx_service.events.tables import EventFormatError
from exatrkx_service.finders.exchange import read_results, write_events
from exatrkx_service.tracking import match_tracks

N_EVENTS = 4
INPUT_FILES = ("measurements", "spacepoint")


@pytest.fixture(scope="module")
def sample(root, tmp_path_factory):
    """Events whose HNL flies far; tests do not change it."""
    config = yaml.safe_load((root / "config" / "config.yaml").read_text())["events"]
    config["hnl"]["ctau_mm"] = 500
    folder = tmp_path_factory.mktemp("samples") / "far"
    generate(folder, config, 0, N_EVENTS)
    return folder


@pytest.fixture(scope="module")
def found(sample):
    return find_tracks(sample, 0, N_EVENTS)


@pytest.fixture
def inputs(sample, tmp_path):
    """A folder with the files of two events that the CKF reads, and no truth about particles."""
    for event_id in range(2):
        for kind in INPUT_FILES:
            shutil.copy(event_file(sample, event_id, kind), tmp_path)
    return tmp_path


def keep(path: Path, n_lines: int) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:n_lines]) + "\n")


def test_most_particles_are_found(sample, found):
    tracks, _ = found
    wanted, matched, candidates, good = 0, 0, 0, 0
    for event_id in range(N_EVENTS):
        event = read_event(sample, event_id)
        found_here = match_tracks(tracks[tracks.event == event_id], event.particle_index)
        matches = found_here.particle[found_here.state == "matched"]
        particles = event.particles
        central = (particles.charge != 0) & (particles.eta.abs() < 2.5) & (particles.pt > 1)
        central &= particles.n_space_points >= 5
        wanted += central.sum()
        matched += central.iloc[matches].sum()
        candidates += len(found_here)
        good += len(matches)
    assert wanted > 40
    assert matched / wanted > 0.95
    assert good / candidates > 0.9


def test_tracks_are_rows_of_the_event(sample, found):
    tracks, _ = found
    assert list(tracks.columns) == [*TRACK_COLUMNS]
    assert (tracks.dtypes == np.int64).all()
    assert not tracks.duplicated(["event", "space_point"]).any()
    assert tracks.groupby(["event", "track"]).size().min() >= LARGE_RADIUS.measurements_min
    for event_id, mine in tracks.groupby("event"):
        assert mine.space_point.between(0, len(read_event(sample, event_id)) - 1).all()
        assert set(mine.track) == set(range(mine.track.nunique()))


def test_every_step_of_every_event_is_timed(found):
    _, times = found
    assert list(times.columns) == [*TIME_COLUMNS]
    assert times.event.tolist() == [event for event in range(N_EVENTS) for _ in STEPS]
    assert times.step.tolist() == [*STEPS] * N_EVENTS
    assert times.duration_ns.dtype == np.int64 and (times.duration_ns > 0).all()


def test_tracks_do_not_depend_on_the_range_nor_on_the_truth(inputs, found):
    tracks, _ = found
    again, times = find_tracks(inputs, 1, 1)
    pd.testing.assert_frame_equal(again, tracks[tracks.event == 1].reset_index(drop=True))
    assert set(times.event) == {1}


def shuffle_measurements(folder: Path, event_id: int) -> None:
    """Gives the measurements another order, and with it other numbers."""
    path = event_file(folder, event_id, "measurements")
    header, *rows = path.read_text().splitlines()
    order = np.random.default_rng(event_id).permutation(len(rows))
    moved = [f"{number}," + rows[row].partition(",")[2] for number, row in enumerate(order)]
    path.write_text("\n".join([header, *moved]) + "\n")
    path = event_file(folder, event_id, "spacepoint")
    points = pd.read_csv(path, dtype=str)
    points["measurement_id_1"] = np.argsort(order)[points["measurement_id_1"].astype(int)]
    points.to_csv(path, index=False, na_rep="nan")


def test_tracks_do_not_depend_on_the_order_of_the_measurements(inputs, found):
    """The reader of ACTS orders them by surface, and those of one surface anyhow."""

    def points(tracks: pd.DataFrame) -> set:
        own = tracks[tracks.event < 2].groupby(["event", "track"])
        return {(event, frozenset(rows.space_point)) for (event, _), rows in own}

    for event_id in range(2):
        shuffle_measurements(inputs, event_id)
    assert points(find_tracks(inputs, 0, 2)[0]) == points(found[0])


def test_files_with_crlf_have_the_same_tracks(inputs, found):
    for path in inputs.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    tracks, _ = found
    pd.testing.assert_frame_equal(find_tracks(inputs, 0, 2)[0], tracks[tracks.event < 2])


def test_tracks_that_begin_far_out_need_seeds_there(sample, found):
    def far(tracks):
        radii = [read_event(sample, i).space_points[:, 0] for i in range(N_EVENTS)]
        r = [radii[row.event][row.space_point] for row in tracks.itertuples()]
        return int((tracks.assign(r=r).groupby(["event", "track"]).r.min() > 200).sum())

    prompt = dataclasses.replace(LARGE_RADIUS, r_middle=(60, 120), impact_max=20)
    assert far(find_tracks(sample, 0, N_EVENTS, prompt)[0]) < far(found[0])


@pytest.mark.parametrize("n_points", [0, 1, 2])
def test_an_event_with_next_to_nothing_has_no_tracks(inputs, n_points):
    for kind in INPUT_FILES:
        keep(event_file(inputs, 1, kind), n_points + 1)
    tracks, times = find_tracks(inputs, 1, 1)
    assert tracks.empty and (tracks.dtypes == np.int64).all()
    assert times.step.tolist() == [*STEPS]


@pytest.mark.parametrize("kind", INPUT_FILES)
def test_a_missing_file_is_named(inputs, kind):
    path = event_file(inputs, 1, kind)
    path.unlink()
    with pytest.raises(EventFormatError, match=f"{path.name}: no such file"):
        find_tracks(inputs, 0, 2)


@pytest.mark.parametrize(("first", "n"), [(-1, 2), (0, 0)])
def test_bad_range_of_events(inputs, first, n):
    with pytest.raises(ValueError, match="first_event"):
        find_tracks(inputs, first, n)


def test_it_gives_tracks_of_what_finders_of_others_get(sample, found, tmp_path):
    given, folder = tmp_path / "events", tmp_path / "tracks"
    given.mkdir(), folder.mkdir()
    sizes = write_events(given, dict.fromkeys(range(N_EVENTS), sample), {"pt_min": 0.4})
    assert {path.name.partition("-")[2] for path in (given / "acts").iterdir()} == {
        f"{kind}.csv" for kind in INPUT_FILES
    }
    main(given, folder)
    results = read_results(folder, sizes)
    pd.testing.assert_frame_equal(results["tracks"], found[0])
    assert results["times"].step.tolist() == [*STEPS] * N_EVENTS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ptmin": 1}, "error: settings.ptmin: unknown, expected one of pt_min, impact_max, "),
        (None, "error: the CKF runs on measurements on the surfaces of the generic detector"),
    ],
)
def test_settings_and_events_that_it_cannot_take_are_told(sample, tmp_path, settings, message):
    write_events(tmp_path, {0: sample}, settings or {})
    if settings is None:
        shutil.rmtree(tmp_path / "acts")
    with pytest.raises(SystemExit, match=message):
        main(tmp_path, tmp_path)
