"""Labels of several events that are computed as one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exatrkx_service.pipeline.event_labels import join_labels, part_labels


@st.composite
def labels_of_an_event(draw):
    size = draw(st.integers(0, 5))
    return np.array(draw(st.lists(st.integers(-1, size - 1), min_size=size, max_size=size)), int)


@given(st.lists(labels_of_an_event(), min_size=1, max_size=5))
def test_labels_that_are_joined_and_parted_are_those_of_each(labels):
    joined = join_labels(labels)
    parts = part_labels(joined, [len(own) for own in labels])
    assert [own.tolist() for own in parts] == [own.tolist() for own in labels]
    # No track has points of two events.
    events = np.repeat(np.arange(len(labels)), [len(own) for own in labels])
    tracks = {(label, event) for label, event in zip(joined, events, strict=True) if label >= 0}
    assert len(tracks) == len({label for label, _ in tracks})


def test_a_track_of_two_events_is_none_of_the_second():
    (first, second) = part_labels(np.array([0, -1, 0, 2, -5]), [2, 3])
    assert first.tolist() == [0, -1] and second.tolist() == [-2, 0, -1]
