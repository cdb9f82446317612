"""This build against another: the same events through both, one right after the other.

What is compared is measured within the same second, in random order, on the same machine; so a
drift of the machine is in both, and drops out of their ratio.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.environment import cleaned, pin
from exatrkx_service.measure import build_worker
from exatrkx_service.measure.estimate import plain_mean, ratio
from exatrkx_service.measure.lock import only_measurement

BUILDS = ("this", "other")
COLUMNS = (
    *("build", "option", "repetition", "event", "stage", "served", "duration_ns", "labels_sha256"),
)
EVENT = "event"  # stage: all of them
N_WARM_UP = 20  # events of different sizes that each build gets first, for each option


class BuildError(RuntimeError):
    """A build that can't be run; the message names its folder."""


def compare_builds(
    other: Path,
    events: Mapping[int, np.ndarray],
    options: Sequence[str],
    repetitions: int,
    say: Callable[[str], None],
) -> pd.DataFrame:
    """Times two builds, each with its own default configuration, networks and server.

    Args:
        other: checkout of the other build; it runs in the Python environment of this one.
        events: space points, float32 (N, 3), by the events' numbers.
        options: service options, by name, that both have; S0 among them.
        repetitions: times that every event is sent to every option of both builds.
        say: told what is done.

    Returns:
        One row per build, option, repetition, event and stage, with the columns ``COLUMNS``: the
        client's time for a stage [ns], or for the event, whether the stage was served, and the
        digest of the event's labels.

    Raises:
        BuildError: a build can't be run, or ended.
    """
    order = np.random.default_rng(0)
    rows: list[tuple[Any, ...]] = []
    roots = {"this": Path(__file__).parents[3], "other": Path(other)}
    with only_measurement("two builds", say), contextlib.ExitStack() as stack:
        builds = {}
        for name, root in roots.items():
            say(f"preparing the build of {root}")
            builds[name] = stack.enter_context(_build(root, list(options)))
        by_size = sorted(events, key=lambda event: len(events[event]))
        warm_up = [by_size[i] for i in np.linspace(0, len(by_size) - 1, N_WARM_UP).astype(int)]
        for option in options:
            for event in order.permutation(warm_up):
                for run in builds.values():
                    run(option, events[event])
        for repetition in range(repetitions):
            say(f"repetition {repetition + 1} of {repetitions}")
            for event in order.permutation(list(events)):
                for option in order.permutation(list(options)):
                    for name in order.permutation(BUILDS):
                        labels, times, served = builds[name](option, events[event])
                        times = {**times, EVENT: sum(times.values())}
                        where = (name, option, repetition, int(event))
                        rows += [
                            (*where, stage, stage in served, ns, labels)
                            for stage, ns in times.items()
                        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@contextlib.contextmanager
def _build(
    root: Path, options: list[str]
) -> Iterator[Callable[[str, np.ndarray], tuple[str, dict[str, int], set[str]]]]:
    """A process of a build: a function that sends an event to an option of it."""
    environment = cleaned(os.environ)
    pin(environment, {"PYTHONPATH": str(root.resolve() / "src")})
    orders, here = os.pipe(), os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", build_worker.__file__, str(orders[0]), str(here[1])],
        cwd=root,
        env=environment,
        pass_fds=(orders[0], here[1]),
        stdin=subprocess.DEVNULL,
    )
    os.close(orders[0])
    os.close(here[1])
    send, receive = Connection(orders[1], readable=False), Connection(here[0], writable=False)

    def ask(question: Any) -> Any:
        try:
            send.send(question)
            return receive.recv()
        except (EOFError, BrokenPipeError):
            code = process.wait()
            raise BuildError(f"{root}: this build ended with code {code}; see the log") from None

    try:
        if (failure := ask(options)) is not None:
            raise BuildError(f"{root}: this build can't be run: {failure}")
        yield lambda option, points: ask((option, points))
    finally:
        send.close()
        process.wait()
        receive.close()


def speed_table(rows: pd.DataFrame, confidence_level: float) -> pd.DataFrame:
    """What two builds need, and the ratio.

    A repetition, all events once, is a block; the interval of a ratio is that of
    ``estimate.ratio``.

    Args:
        rows: from ``compare_builds``.
        confidence_level: of the intervals, between 0 and 1.

    Returns:
        One row per quantity of each option: ``time`` of the event and of each stage, what a served
        stage takes more than that of S0 (``overhead``), and what the option does (``cost``), as
        means over events [ms]: ``this_ms``, ``other_ms``; their ``ratio`` with ``low`` and
        ``high``; and ``same_tracks``, the share of events in which both builds gave the same
        labels.
    """
    ms = rows.assign(ms=rows["duration_ns"] / 1e6)
    means = ms.pivot_table("ms", ["option", "stage", "repetition"], "build")
    served = rows.groupby(["option", "stage"])["served"].any()
    labels = rows.drop_duplicates(["build", "option", "repetition", "event"])
    labels = labels.pivot(
        index=["option", "repetition", "event"], columns="build", values="labels_sha256"
    )
    same = (labels["this"] == labels["other"]).groupby("option").mean()
    table = []
    home = means.loc["S0"]
    for (option, stage), block in means.groupby(level=["option", "stage"], sort=False):
        own = block.droplevel(["option", "stage"])
        found = {"time": own}
        if option != "S0" and stage == EVENT:
            found["cost"] = own - home.loc[stage]
        elif served[option, stage] and stage in home.index:
            found["overhead"] = own - home.loc[stage]
        for quantity, values in found.items():
            estimate = ratio(values["this"], values["other"], confidence_level)
            table.append(
                {
                    "option": option,
                    "stage": stage,
                    "quantity": quantity,
                    "this_ms": plain_mean(values["this"]).value,
                    "other_ms": plain_mean(values["other"]).value,
                    **dict(zip(("ratio", "low", "high"), estimate, strict=True)),
                    "same_tracks": same[option],
                }
            )
    return pd.DataFrame(table)
