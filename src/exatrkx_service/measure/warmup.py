"""Warming up: until no trend is left, for every client, instance and class of sizes.

The first calls of a process are slow: libraries are loaded, memory is taken, and TorchScript
optimises itself in its first calls and for new shapes, by 10 or 30 times the time of a later call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

GAIN = 0.1  # a sweep is the last one if it is not faster than the fastest before by this share
LEAST, MOST = 2, 10  # sweeps


def pick_events(events: Mapping[int, np.ndarray], count: int) -> dict[int, np.ndarray]:
    """Picks ``count`` events that span the sizes, from the largest down; the largest always."""
    by_size = sorted(events, key=lambda event: len(events[event]), reverse=True)
    places = np.unique(np.linspace(0, len(by_size) - 1, min(count, len(by_size))).astype(int))
    return {by_size[place]: events[by_size[place]] for place in places}


def is_warm(seconds: Sequence[float]) -> bool:
    """Whether the sweeps so far show no trend any more; or there were so many that they never will.

    Args:
        seconds: how long each sweep took; a sweep does the same work each time.
    """
    if len(seconds) < LEAST:
        return False
    return seconds[-1] > (1 - GAIN) * min(seconds[:-1]) or len(seconds) >= MOST


def sweep_until_warm(sweep: Callable[[int], None]) -> int:
    """Calls ``sweep`` with 0, 1, ... until it is warm; gives the number of sweeps."""
    seconds: list[float] = []
    while not is_warm(seconds):
        begin = time.monotonic()
        sweep(len(seconds))
        seconds.append(time.monotonic() - begin)
    return len(seconds)


def in_threads(
    work: Callable[[int], None], count: int, check: Callable[[], None] = lambda: None
) -> None:
    """Runs ``work(0)``, ..., ``work(count - 1)`` at the same time, each in a thread of its own.

    Args:
        work: the work.
        count: number of threads.
        check: called a few times a second meanwhile; raises if it makes no sense to wait.

    Raises:
        BaseException: what ``check`` or, first of all, one of the threads raised.
    """
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    # Daemons: if the owner is told to stop, it must not wait for requests under way.
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        # In slices: the kernel may give a signal to a thread of gRPC, which does not wake this one,
        # and Python handles signals here alone.
        while thread.is_alive():
            thread.join(0.25)
            check()
    if errors:
        raise errors[0]
