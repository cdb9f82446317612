"""What is sent in which order: blocks of events, and the order of the arms in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from exatrkx_service.measure.load import CONTROL, OPTION, Item

Event = tuple[int, int]  # number, and pass over the events
# Of each client in a block, if there are several, so most of its time goes to those that count:
# before and after them each client sends one or two that do not, see ``load.take_turn``.
EVENTS_EACH = 3


def blocks(
    events: Mapping[int, np.ndarray], size: int, least: int, rng: np.random.Generator
) -> Iterator[list[Event]]:
    """Blocks of about ``size`` events, and no fewer than ``least``, without end.

    The blocks of one pass partition the events, each with small and large ones alike: the events in
    the order of their sizes are dealt out one by one, so that the blocks' means differ by the
    machine's noise and hardly by the events (a systematic sample: W. G. Cochran, Sampling
    Techniques, chapter 8). A block that is larger than the sample is made of whole passes.

    Args:
        events: space points by event number.
        size: number of events in a block.
        least: see ``least_events``.
        rng: for the order.
    """
    by_size = sorted(events, key=lambda event: (len(events[event]), event))
    passes = max(round(size / len(by_size)), math.ceil(least / len(by_size)), 1)
    dealt = max(1, min(round(len(by_size) / size), len(by_size) // least))
    for first in count(step=passes):
        for offset in rng.permutation(dealt):
            block = [
                (event, first + number)
                for number in range(passes)
                for event in by_size[offset::dealt]
            ]
            rng.shuffle(block)
            yield [(int(event), int(number)) for event, number in block]


def least_events(concurrency: int, affordable: float) -> int:
    """The fewest events that a block may have.

    Args:
        concurrency: number of clients; each needs an event at least, and better ``EVENTS_EACH``.
        affordable: so many that ``measure.min_blocks`` blocks of them fit into
            ``measure.max_seconds``.
    """
    if concurrency == 1:
        return 1
    return max(concurrency, min(EVENTS_EACH * concurrency, int(affordable)))


def turns(
    block: Sequence[Event], concurrency: int, rng: np.random.Generator
) -> list[tuple[str, list[Item]]]:
    """How both arms send a block's events: the turns in their order, each with its arm.

    With one client one turn holds both, event by event, the arms of each event in random order;
    its arm is empty. With more clients the arms would disturb each other, so each has a turn of
    its own, in random order.
    """
    arms = np.array([OPTION, CONTROL])
    if concurrency == 1:
        return [("", [Item(str(a), *event) for event in block for a in rng.permutation(arms)])]
    return [(str(a), [Item(str(a), *event) for event in block]) for a in rng.permutation(arms)]


def block_size(seconds_per_event: float, block_s: float) -> int:
    """Number of events that count in a block, if both arms take about ``block_s`` for them.

    Args:
        seconds_per_event: that an event takes, of each arm once [s].
        block_s: see ``measure.block_s`` [s].
    """
    return max(1, round(block_s / max(seconds_per_event, 1e-9)))
