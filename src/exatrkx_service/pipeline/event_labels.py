"""Labels of several events that are computed as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def join_labels(labels: Sequence[np.ndarray]) -> np.ndarray:
    """The labels of several events as those of one.

    Args:
        labels: of each event int64 (N,), from 0 to N - 1 or negative for no track.

    Returns:
        int64, one after the other: those of an event moved by the number of points before it, and
        -1 for no track.
    """
    starts = np.cumsum([0, *map(len, labels)])[:-1]
    return np.concatenate(
        [np.where(own < 0, -1, own + start) for own, start in zip(labels, starts, strict=True)]
    )


def part_labels(labels: np.ndarray, sizes: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """The labels of each of several events, the reverse of ``join_labels``.

    Args:
        labels: int64 (N,), of all events one after the other.
        sizes: number of space points of each.

    Returns:
        Of each event its own; a label of an event before it, which it can't have alone, is -2.
    """
    ends = np.cumsum(sizes)
    parts = zip(np.split(labels, ends[:-1]), ends - sizes, strict=True)
    return [np.where(own < 0, -1, np.where(own < start, -2, own - start)) for own, start in parts]
