"""What a candidate and a match are, each on an event small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest
from hand_made import make_particles

from exatrkx_service.tracking import in_populations, match_tracks, to_tracks


def match(labels, particle):
    return match_tracks(to_tracks(np.array(labels), 0), np.array(particle))


def states(labels, particle):
    found = match(labels, particle)
    return dict(zip(found.track, found.state, strict=True))


def test_tracks_are_the_points_of_each_label():
    tracks = to_tracks(np.array([4, -1, 0, 4, 0]), 7)
    assert tracks.columns.tolist() == ["event", "track", "space_point"]
    assert tracks.to_numpy().tolist() == [[7, 0, 2], [7, 0, 4], [7, 4, 0], [7, 4, 3]]
    assert (tracks.dtypes == np.int64).all()
    assert to_tracks(np.array([-1, -1]), 7).empty


def test_a_match_needs_both_majorities():
    # particle 0: 4 points, all in track 7. particle 1: 6 points, exactly half of them in track 9.
    # particle 2: 3 points, 2 of them in track 20 with 2 points of no particle: half of the track.
    particle = [0] * 4 + [1] * 6 + [2] * 3 + [-1] * 2
    labels = [7] * 4 + [9] * 3 + [-1] * 3 + [20, 20, -1] + [20, 20]
    assert states(labels, particle) == {7: "matched", 9: "fragment", 20: "fake"}
    labels[7] = 9  # now 4 of 6
    labels[14] = -1  # now 2 of 3
    found = match(labels, particle)
    assert found.state.tolist() == ["matched"] * 3
    assert found.particle.tolist() == [0, 1, 2]
    assert found.n_space_points.tolist() == [4, 4, 3]


def test_a_merged_candidate_matches_the_larger_particle_alone():
    found = match([0] * 8, [4] * 5 + [6] * 3)
    assert (found.state.tolist(), found.particle.tolist()) == (["matched"], [4])
    found = match([0] * 8, [4] * 4 + [6] * 4)  # half and half: neither
    assert (found.state.tolist(), found.particle.tolist()) == (["fake"], [-1])


def test_a_split_particle_is_found_once_and_the_rest_is_a_duplicate():
    assert states([0, 0, 0, 0, 4, 4, 4], [0] * 7) == {0: "matched", 4: "duplicate"}


def test_a_particle_in_three_pieces_is_not_found():
    assert states([0] * 3 + [3] * 3 + [6] * 3, [0] * 9) == dict.fromkeys((0, 3, 6), "fragment")


def test_of_tracks_that_share_points_the_one_with_most_of_the_particle_matches():
    points = {2: [0, 1, 2], 5: [0, 1, 2, 3], 8: [1, 2, 3, 0, 5], 9: [4, 5, 6]}
    tracks = pd.DataFrame(
        [(t, p) for t in points for p in points[t]], columns=["track", "space_point"]
    )
    found = match_tracks(tracks, np.array([3, 3, 3, 3, -1, -1, 3]))
    # Track 5 and 8 hold 4 of the 5 points: the lower number matches. Track 9 has one of three.
    assert found.state.tolist() == ["duplicate", "matched", "duplicate", "fake"]
    assert found.particle.tolist() == [3, 3, 3, -1]


def test_two_points_are_no_candidate_but_count_for_their_particle():
    assert match([0, 0, -1], [3, 3, 3]).empty
    assert states([0, 0, 0, 3, 3, 3], [1] * 3 + [1] * 3) == {0: "fragment", 3: "fragment"}
    assert states([0] * 3 + [3, 3], [1] * 5) == {0: "matched"}


def test_events_without_points_particles_or_tracks_have_nothing_matched():
    empty = np.empty(0, np.int64)
    assert match(empty, empty).empty
    assert match([-1, -1], [0, 0]).empty
    assert states([0, 0, 0], [-1, -1, -1]) == {0: "fake"}


def test_points_of_another_event_are_refused():
    with pytest.raises(ValueError, match="space_point: found 0 to 3, expected 0 to 2"):
        match_tracks(to_tracks(np.zeros(4, np.int64), 0), np.zeros(3, np.int64))


def test_populations_are_charged_hard_central_and_seen():
    particles = make_particles(
        charge=[1.0, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0],
        pt=[0.6, 1.1, 5.0, 0.5, 9.0, 9.0, 1.0],
        eta=[3.9, -2.9, 0.0, 0.0, 0.0, -3.0, 0.0],
        n_space_points=[3, 5, 9, 9, 2, 9, 4],
        from_hnl=[False, True, True, True, False, False, True],
    )
    found = {
        name: np.flatnonzero(mask).tolist() for name, mask in in_populations(particles).items()
    }
    assert found == {
        "all": [0, 1, 2, 3, 4, 5, 6],
        "all_hnl": [1, 2, 3, 6],
        "A": [0, 1, 5, 6],
        "A_hnl": [1, 6],
        "B": [1],
        "B_hnl": [1],
    }
