"""Is a stage that is served computed as fast as the same stage at home? It is the same code.

What a service costs is the way to it. A stage that computes at another speed on the server has
other threads there, another machine, another layout of its tensors in memory, or another build of
a library: then the cost is not that of the service alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from exatrkx_service.analysis.cells import INVALID
from exatrkx_service.analysis.timings import (
    CELL,
    COMPUTE_PARTS,
    CONTROL,
    NS_PER_MS,
    OPTION,
    STAGES,
    total_rows,
)
from exatrkx_service.client.remote import REQUEST

# On a quiet machine the stages of S0 to S5 were within 5 % of those in the control with one client,
# and one of 0.2 ms, whose data are in no cache after a request, within 0.07 ms.
MAX_RATIO = 1.15
MAX_DIFFERENCE_MS = 0.1


def computing(timings: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """Mean time that each stage computed, of an event, with one client.

    With more of them an option and its control wait for the cores in different ways.

    Args:
        timings: samples of the options and their controls, in the blocks that count.
        summary: see ``summary.summarise``; invalid cells are left out, for in them the events of
            both need not be the same.

    Returns:
        Columns ``option``, ``stage``, ``option_ms`` and ``control_ms`` [ms]; no rows of an option
        whose requests could not be divided, nor of somebody else's model.
    """
    valid = summary.loc[(summary.verdict != INVALID) & (summary.concurrency == 1), CELL]
    timings = timings.merge(valid, on=CELL)
    undivided = timings.option[timings.part == REQUEST].unique()
    timings = timings[~timings.option.isin(undivided)]
    parts = timings[timings.part.isin(COMPUTE_PARTS) & timings.stage.isin(STAGES)]
    by = ["option", "arm"]
    sums = parts.groupby([*by, "stage"]).duration_ns.sum() / NS_PER_MS
    means = sums / total_rows(timings).groupby(by).size()
    table = means.unstack("arm").reindex(columns=[OPTION, CONTROL]).dropna().add_suffix("_ms")
    return table.rename_axis(columns=None).reset_index()


def computing_checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The check of the report: ``name``, ``state``, ``text`` and ``details``.

    Args:
        rows: of ``computing``; without any there is no check.
    """
    found = [
        f"{row['option']}: {row['stage']} takes {row['option_ms']:.2f} ms, in the control beside "
        f"it {row['control_ms']:.2f} ms"
        for row in rows
        if not _same(row["option_ms"], row["control_ms"])
    ]
    within = f"{MAX_RATIO - 1:.0%} {'and' if found else 'or'} {MAX_DIFFERENCE_MS:g} ms"
    text = (
        f"Stages compute at another speed than in one process, by more than {within}: other "
        "threads on the server, another machine, another layout in memory? It is in the cost."
        if found
        else f"With 1 client the stages of {', '.join(dict.fromkeys(r['option'] for r in rows))} "
        f"compute as fast as in one process, within {within}."
    )
    state = "warning" if found else "ok"
    check = {"name": "Same computing", "state": state, "text": text, "details": found}
    return [check] if rows else []


def _same(first: float, second: float) -> bool:
    low, high = sorted((first, second))
    return high - low <= MAX_DIFFERENCE_MS or high <= MAX_RATIO * low
