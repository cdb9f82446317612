"""Tests the intervals: S0 against itself, again and again; how often does zero lie in them?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.measure import host
from exatrkx_service.measure.cell import Cell, Measuring, affinities
from exatrkx_service.measure.clients import CONTROL_OPTION, Task, clients
from exatrkx_service.measure.lock import only_measurement
from exatrkx_service.measure.rows import tidy, tidy_blocks
from exatrkx_service.measure.warmup import pick_events
from exatrkx_service.pipeline import device as devices


def measure_coverage(
    repeats: int,
    events: Mapping[int, np.ndarray],
    reference: pd.DataFrame,
    model_repository: Path,
    config: Mapping[str, Any],
    say: Callable[[str], None] = print,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Measures S0 against itself so many times, in one job with the same clients.

    Each time is a cell as those of the benchmark, with an order of events and arms of its own: it
    ends as soon as the cost is known to the precision, so what that does to the interval is tested
    as well.

    Args:
        repeats: how often, per concurrency.
        events: space points by event number.
        reference: one row per event with its sizes, see ``reference.run_reference``.
        model_repository: of this configuration, see ``serving.repository.export_repository``.
        config: the sections ``pipeline`` (with the identity of its networks, see
            ``identity.with_networks``) and ``measure`` of the configuration.
        say: gets one line per step that the user is to see.

    Returns:
        The tidy rows; one row per block and arm; and what to know about the job, as of
        ``job.measure``. The repeat, from 1, stands as ``round``.

    Raises:
        ClientError: a client ended.
    """
    plan, pipeline = config["measure"], config["pipeline"]
    devices.settle(pipeline["threads"])
    task = Task(CONTROL_OPTION, model_repository, pipeline)
    facts: dict[str, Any] = {"option": CONTROL_OPTION.name, "repeats": repeats}
    facts |= {"device": devices.resolve(pipeline["device"]), "limits": host.limits()}
    facts["clients"] = plan["clients"]
    with only_measurement("coverage", say):
        facts["began"] = datetime.now(UTC).isoformat(timespec="seconds")
        with clients(plan["clients"], max(plan["concurrency"]), task, events) as crew:
            say("starting the clients and warming them up")
            crew.ready(_go_on)
            crew.warm(list(pick_events(events, plan["warmup_events"])), "warmup", _go_on)
            cells = repeat(Measuring(crew, events, plan), repeats, plan["concurrency"], say)
            facts["affinities"] = affinities(crew, ())
    facts["cells"] = [cell.facts() | {"repeat": number} for number, cell in cells]
    rows, blocks = [], []
    for number, cell in cells:
        head = {"option": CONTROL_OPTION.name, "round_number": number}
        rows.append(tidy([cell], requests={}, journals={}, sizes=reference, **head))
        blocks.append(tidy_blocks([cell], CONTROL_OPTION.name, number))
    return pd.concat(rows, ignore_index=True), pd.concat(blocks, ignore_index=True), facts


def _go_on() -> None:
    """There is no server that could have died."""


def repeat(
    measuring: Measuring, repeats: int, concurrencies: Sequence[int], say: Callable[[str], None]
) -> list[tuple[int, Cell]]:
    """Measures the cells so many times, one concurrency after the other each time.

    Returns:
        The cells, each with the number of its repeat, from 1.
    """
    cells = []
    for number in range(1, repeats + 1):
        for concurrency in concurrencies:
            cell = measuring.cell(concurrency, seed=number * 1000 + concurrency)
            cells.append((number, cell))
            disturbed = len(cell.samples) - len(cell.costs)
            say(
                f"repeat {number} of {repeats}, concurrency {concurrency}: {len(cell.samples)} "
                f"blocks, {disturbed} of them disturbed"
            )
    return cells
