"""What happened on the machine while each cell was measured, for people to read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from exatrkx_service.analysis.summary import sort_options
from exatrkx_service.analysis.table import number
from exatrkx_service.analysis.timings import BLOCK, CELL, kept_blocks

# Of each block: CPUs kept busy by others, taken by the host, share of periods throttled, and so on.
READINGS = ("others", "steal", "throttled", "switches_per_s", "mhz")


def machine_rows(blocks: pd.DataFrame, min_blocks: int) -> list[dict[str, str]]:
    """One row per option and concurrency, as text.

    Args:
        blocks: see ``timings.BLOCK_COLUMNS``.
        min_blocks: see ``timings.kept_blocks``.

    Returns:
        Of each cell ``option``, ``concurrency``, the number of its blocks (``n_blocks``), how many
        were ``disturbed`` and how many ``kept``, and the means of ``READINGS`` over all its blocks,
        with the largest value of those that may disturb.
    """
    kept = kept_blocks(blocks, min_blocks).drop_duplicates(BLOCK).groupby(CELL).size()
    rows = []
    for cell in sort_options(blocks[CELL].drop_duplicates()).itertuples(index=False):
        own = blocks[(blocks.option == cell.option) & (blocks.concurrency == cell.concurrency)]
        disturbed = own[own.disturbed != ""].drop_duplicates(BLOCK)
        row = {
            "option": cell.option,
            "concurrency": str(cell.concurrency),
            "n_blocks": str(len(own.drop_duplicates(BLOCK))),
            "disturbed": str(len(disturbed)),
            "kept": str(kept[tuple(cell)]),
        }
        for name in READINGS:
            values = own[name]
            digits = 2 if name in READINGS[:3] else 0
            row[name] = number(values.mean(), digits=digits)
            if name in READINGS[:3] and values.notna().any():
                row[name] += f" (≤ {number(values.max(), digits=digits)})"
        rows.append(row)
    return rows


def affinity_rows(jobs: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Which CPUs the processes of each job could use: job, process, CPUs.

    Args:
        jobs: of ``checks.combine_provenance``.
    """
    prefix = "job.affinities."
    return [
        (job, key.removeprefix(prefix), ", ".join(map(str, cpus or ())))
        for job, own in jobs.items()
        for key, cpus in own.items()
        if key.startswith(prefix)
    ]
