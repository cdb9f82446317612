"""Is a stage that is served computed as fast as the same stage at home? It is the same code.

What a service costs is the way to it. A stage that computes at another speed on the server has
other threads there, another layout of its tensors in memory, or another build of a library: then
the cost is not that of the service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from exatrkx_service.analysis.timings import (
    COMPUTE_PARTS,
    CONTROL,
    NS_PER_MS,
    OPTION,
    STAGES,
    total_rows,
)

# On a quiet machine the stages of S0 to S5 were within 5 % of those in the control with one client,
# and one of 0.2 ms, whose data are in no cache after a request, within 0.07 ms.
MAX_RATIO = 1.15
MAX_DIFFERENCE_MS = 0.1


def computing(timings: pd.DataFrame) -> pd.DataFrame:
    """Mean time that each stage computed, of an event, with the fewest clients.

    With more of them an option and its control wait for the cores in different ways.

    Args:
        timings: samples of the options and their controls, in the blocks that count.

    Returns:
        Columns ``option``, ``concurrency``, ``stage``, ``option_ms`` and ``control_ms`` [ms]; of
        somebody else's model there is no row.
    """
    ok = timings[timings.status == "ok"]
    fewest = ok.groupby("option").concurrency.transform("min")
    ok = ok[ok.concurrency == fewest]
    parts = ok[ok.part.isin(COMPUTE_PARTS) & ok.stage.isin(STAGES)]
    by = ["option", "concurrency", "arm"]
    sums = parts.groupby([*by, "stage"]).duration_ns.sum() / NS_PER_MS
    means = sums / total_rows(ok).groupby(by).size()
    table = means.unstack("arm").reindex(columns=[OPTION, CONTROL]).dropna().add_suffix("_ms")
    return table.rename_axis(columns=None).reset_index()


def computing_check(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The check of the report: ``name``, ``state``, ``text`` and ``details``.

    Args:
        rows: of ``computing``.
    """
    found = [
        f"{row['option']}: {row['stage']} takes {row['option_ms']:.2f} ms, in the control beside "
        f"it {row['control_ms']:.2f} ms"
        for row in rows
        if not _same(row["option_ms"], row["control_ms"])
    ]
    return {
        "name": "Same computing",
        "state": "warning" if found else "ok",
        "text": "Stages are computed at another speed than in one process, by more than "
        f"{MAX_RATIO - 1:.0%} and {MAX_DIFFERENCE_MS:g} ms: other threads, or another layout in "
        "memory? That is no cost of the service."
        if found
        else "With the fewest clients each stage is computed as fast as in one process, within "
        f"{MAX_RATIO - 1:.0%} or {MAX_DIFFERENCE_MS:g} ms.",
        "details": found,
    }


def _same(first: float, second: float) -> bool:
    low, high = sorted((first, second))
    return high - low <= MAX_DIFFERENCE_MS or high <= MAX_RATIO * low
