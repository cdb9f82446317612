from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from toy_tracks import toy_event, write_event

from exatrkx_service.events.files import event_file
from exatrkx_service.events.imported import write_imported
from exatrkx_service.events.reader import read_event
from exatrkx_service.events.tables import EventFormatError
from exatrkx_service.models.data import (
    TrainingEvent,
    augment,
    is_true,
    load_sample,
    missing_truth,
    same_particle,
    split_sample,
)


def test_augmented_events_keep_their_tracks(event):
    others = [toy_event(seed) for seed in range(3)]
    rng = np.random.default_rng(3)
    augmented = [augment(event, others, rng, max_overlays=4) for _ in range(10)]
    n_points = len(event.space_points)
    sizes = {len(new.space_points) for new in augmented}
    assert min(sizes) == n_points
    assert max(sizes) > n_points
    for new in augmented:
        start, end = new.truth_edges
        assert (new.particle[start] == new.particle[end]).all()
        assert np.array_equal(new.truth_edges[:, : event.truth_edges.shape[1]], event.truth_edges)
        assert new.from_hnl[n_points:].all()
        assert np.abs(new.space_points[:, 1]).max() <= np.float32(np.pi)
        # Rotation and mirroring keep r, |z| and the turn in phi between consecutive points.
        old_turn = np.diff(event.space_points[event.truth_edges, 1], axis=0)
        new_turn = np.diff(new.space_points[event.truth_edges, 1], axis=0)
        np.testing.assert_allclose(np.cos(new_turn), np.cos(old_turn), atol=1e-5)
        assert np.array_equal(new.space_points[:n_points, 0], event.space_points[:, 0])
        assert np.array_equal(
            np.abs(new.space_points[:n_points, 2]), np.abs(event.space_points[:, 2])
        )


def test_edge_truth_by_hand(event):
    edges = np.array([[0, 1, 0, 0], [1, 0, 2, len(event.particle) - 1]])
    assert is_true(event, edges).tolist() == [True, True, False, False]
    assert same_particle(event, edges).tolist() == [True, True, True, False]
    missing = missing_truth(event, edges)
    assert [0, 1] not in missing.T.tolist()
    assert missing.shape[1] == event.truth_edges.shape[1] - 1


def test_points_without_a_particle_share_none():
    noise = TrainingEvent(
        np.zeros((2, 3), np.float32), np.array([-1, -1]), np.array([-1, -1]), np.zeros(2, bool)
    )
    assert not same_particle(noise, np.array([[0], [1]])).any()
    assert not is_true(noise, np.array([[0], [1]])).any()


def test_events_on_disk_give_the_truth_they_were_made_with(tmp_path, event):
    write_event(tmp_path, 3, event)
    (read,) = load_sample({3: tmp_path})
    np.testing.assert_allclose(read.space_points, event.space_points, rtol=1e-5, atol=1e-5)
    assert np.array_equal(read.particle, event.particle)
    assert np.array_equal(read.successor, event.successor)
    assert np.array_equal(read.from_hnl, event.from_hnl)


def equal(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("space_points", "particle", "successor", "from_hnl")
    )


def test_the_cache_is_used_until_the_files_change(tmp_path):
    folder, cache = tmp_path / "sample", tmp_path / "cache.npz"
    folder.mkdir()
    for event_id in range(3):
        write_event(folder, event_id, toy_event(event_id))
    sample = dict.fromkeys(range(3), folder)
    first = load_sample(sample, cache)
    written = cache.stat().st_mtime_ns
    assert all(map(equal, first, load_sample(sample, cache)))
    assert cache.stat().st_mtime_ns == written
    write_event(folder, 1, toy_event(7, n_tracks=3))
    second = load_sample(sample, cache)
    assert [equal(*pair) for pair in zip(first, second, strict=True)] == [True, False, True]
    cache.write_bytes(cache.read_bytes()[:40])
    assert all(map(equal, second, load_sample(sample, cache)))
    assert all(map(equal, second, load_sample(sample, cache)))


def test_events_from_elsewhere_are_kept_until_they_change(tmp_path):
    """Their files have other names than those of generated ones."""
    folder, cache = tmp_path / "sample", tmp_path / "cache.npz"
    folder.mkdir()
    write_event(folder, 0, toy_event(0))
    write_event(folder, 1, toy_event(1))
    events = [read_event(folder, number) for number in (0, 1)]
    own = tmp_path / "own"
    own.mkdir()
    write_imported(own, events[0], truth=True)
    assert equal(load_sample({0: own}, cache)[0], load_sample({0: folder})[0])
    write_imported(own, replace(events[1], event_id=0), truth=True)
    assert equal(load_sample({0: own}, cache)[0], load_sample({1: folder})[0])


def test_only_the_events_of_the_sample_are_read(tmp_path):
    for event_id in range(3):
        write_event(tmp_path, event_id, toy_event(event_id))
    cache = tmp_path / "cache.npz"
    for wanted in ((0, 1, 2), (2, 0), (1,)):
        read = load_sample(dict.fromkeys(wanted, tmp_path), cache)
        again = [load_sample({i: tmp_path})[0] for i in sorted(wanted)]
        assert len(read) == len(wanted) and all(map(equal, read, again))


def test_a_sample_without_events_is_refused():
    with pytest.raises(ValueError, match=r"train\.n_events: no events; expected at least 2"):
        load_sample({})


@pytest.mark.parametrize("kind", ["hits", "measurement-simhit-map", "particles_simulated", "hnl"])
def test_a_sample_without_files_of_truth_is_refused(tmp_path, event, kind):
    write_event(tmp_path, 3, event)
    path = event_file(tmp_path, 3, kind)
    path.unlink()
    with pytest.raises(EventFormatError, match=f"{path.name}: no such file"):
        load_sample({3: tmp_path})


def test_a_sample_in_which_no_point_has_a_particle_is_refused(tmp_path, event):
    write_event(tmp_path, 0, event)
    # Every measurement is one of two particles: none of its space points has a particle.
    path = event_file(tmp_path, 0, "measurement-simhit-map")
    links = pd.read_csv(path)
    first, other = 0, int(np.flatnonzero(event.particle != event.particle[0])[0])
    pairs = [links.assign(hit_id=hit) for hit in (first, other)]
    pd.concat(pairs).to_csv(path, index=False)
    with pytest.raises(ValueError, match=f"{tmp_path}: a sample without truth: .*expected files"):
        load_sample({0: tmp_path}, tmp_path / "cache.npz")
    assert not (tmp_path / "cache.npz").exists()


@pytest.mark.parametrize(("n_events", "fraction"), [(1, 0.5), (4, 0.1), (2, 0.9)])
def test_too_few_events_to_split_are_refused(n_events, fraction):
    with pytest.raises(ValueError, match=rf"train\.n_events: too few: {n_events} events with tra"):
        split_sample(list(range(n_events)), fraction)


def test_the_last_events_validate():
    assert split_sample(list(range(10)), 0.2) == (list(range(8)), [8, 9])
