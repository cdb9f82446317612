"""The clock of all client-side times."""

from __future__ import annotations

import time
from typing import NamedTuple


class Lap(NamedTuple):
    """One part of an event's time: ``start_ns`` on the monotonic clock, ``duration_ns`` long."""

    stage: str
    part: str
    start_ns: int
    duration_ns: int


class Stopwatch:
    """Cuts the time of one event into parts without gaps.

    Each part ends where the next begins, at one reading of the clock. So the parts add up to the
    total by construction: no time is lost, also when the interpreter switches threads between two
    statements. ``time.monotonic_ns`` reads CLOCK_MONOTONIC, as Triton's traces do, so on one
    machine both can be put on one time line.
    """

    def __init__(self) -> None:
        self.laps: list[Lap] = []
        self.start_ns = self.now_ns = time.monotonic_ns()

    def lap(self, stage: str, part: str) -> None:
        """Ends the part that began at the previous lap."""
        now_ns = time.monotonic_ns()
        self.laps.append(Lap(stage, part, self.now_ns, now_ns - self.now_ns))
        self.now_ns = now_ns
