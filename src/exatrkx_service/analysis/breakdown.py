"""Where the time of an event goes: the parts of every stage, and what is in none of them."""

from __future__ import annotations

import pandas as pd

from exatrkx_service.analysis.timings import (
    BLOCK,
    CELL,
    ENSEMBLE,
    EVENT,
    MODEL,
    NS_PER_MS,
    PARTS,
    PIPELINE,
    SAMPLE,
    STAGES,
    UNATTRIBUTED,
    part_rows,
    total_rows,
)
from exatrkx_service.measure.estimate import plain_mean
from exatrkx_service.options import natural_key

BREAKDOWN_COLUMNS = [
    *("option", "concurrency", "stage", "part", "mean_ms", "ci95_low_ms", "ci95_high_ms", "share")
]


def breakdown(timings: pd.DataFrame, *, confidence_level: float) -> pd.DataFrame:
    """Mean time of every part of every stage.

    A sample in which a part does not occur counts with 0 for it, and what of the samples' time is
    in no part is ``unattributed``: so they add up to the plain mean of all samples, which differs a
    little from the trimmed mean of the summary. The interval of a part is Student's, of its means
    in the blocks.

    Args:
        timings: samples of the options, see ``cells.comparable``.
        confidence_level: of the intervals, between 0 and 1.

    Returns:
        Columns ``BREAKDOWN_COLUMNS``: times [ms]; ``share`` is the part's fraction of the
        option's mean time at that concurrency.
    """
    totals = total_rows(timings)
    totals = totals[totals.status == "ok"]
    rows = []
    parts = dict(iter(_parts(timings).groupby(CELL)))
    for (option, concurrency), samples in totals.groupby(CELL):
        sizes = samples.groupby(BLOCK).size()
        sums = (
            parts[option, concurrency]
            .pivot_table(
                index=["stage", "part"], columns=BLOCK, values="duration_ns", aggfunc="sum"
            )
            .reindex(columns=sizes.index)
            .fillna(0)
            / NS_PER_MS
        )
        mean_ms = samples.duration_ns.mean() / NS_PER_MS
        for (stage, part), in_blocks in sums.iterrows():
            mean = in_blocks.sum() / sizes.sum()
            interval = plain_mean(in_blocks / sizes, confidence_level)
            # About the mean of the samples, for blocks may be of different sizes.
            low, high = (mean + bound - interval.value for bound in interval[1:])
            rows.append((option, concurrency, stage, part, mean, low, high, mean / mean_ms))
    table = pd.DataFrame(rows, columns=BREAKDOWN_COLUMNS)
    ranks = {
        "option": sorted(table.option.unique(), key=natural_key),
        "stage": [*STAGES, ENSEMBLE, PIPELINE, MODEL, EVENT],
        "part": PARTS,
    }
    return table.sort_values(
        ["option", "concurrency", "stage", "part"],
        key=lambda column: (
            column.map(list(ranks[column.name]).index) if column.name in ranks else column
        ),
        ignore_index=True,
    )


def unattributed_share(timings: pd.DataFrame) -> pd.Series:
    """The share of the samples' time that is in no part, by (option, concurrency).

    Args:
        timings: samples of the options that did not fail, of all their blocks or some.
    """
    totals = total_rows(timings)
    totals = totals[totals.status == "ok"].groupby(CELL).duration_ns.sum()
    named = part_rows(timings).groupby(CELL).duration_ns.sum()
    return 1 - named.reindex(totals.index, fill_value=0) / totals


def _parts(timings: pd.DataFrame) -> pd.DataFrame:
    """The rows of the parts; what is unattributed is what they leave of the total."""
    parts = part_rows(timings)
    totals = total_rows(timings)
    rest = totals[totals.status == "ok"].set_index(SAMPLE)
    named = parts.groupby(SAMPLE).duration_ns.sum().reindex(rest.index, fill_value=0)
    rest = rest.assign(
        stage=EVENT, part=UNATTRIBUTED, duration_ns=rest.duration_ns - named
    ).reset_index()
    return pd.concat([parts, rest], ignore_index=True)
