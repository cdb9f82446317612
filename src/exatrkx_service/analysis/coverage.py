"""How often the interval of S0's cost against itself holds zero, which is the true value."""

from __future__ import annotations

import pandas as pd
from scipy.stats import binomtest

from exatrkx_service.analysis.cells import block_means, clients, invalid_cells
from exatrkx_service.analysis.timings import OPTION, TimingsError, kept_blocks
from exatrkx_service.measure.estimate import half_width, trimmed_mean

COVERAGE_COLUMNS = [
    *("repeat", "concurrency", "cost_ms", "cost_low_ms", "cost_high_ms", "holds_zero"),
    *("control_ms", "half_width_share", "n_blocks", "n_disturbed", "others", "steal"),
]
_KEYS = ["round", "concurrency"]


def coverage_table(
    timings: pd.DataFrame,
    blocks: pd.DataFrame,
    reference: pd.DataFrame,
    *,
    confidence_level: float,
    min_blocks: int,
) -> pd.DataFrame:
    """One row per repeat and concurrency; blocks and intervals are those of the summary.

    Args:
        timings: raw samples of S0 against itself, see ``timings.COLUMNS``; the round is the repeat.
        blocks: see ``timings.BLOCK_COLUMNS``.
        reference: one row per event with the labels' hash, see ``timings.REFERENCE_COLUMNS``.
        confidence_level: of the intervals, between 0 and 1.
        min_blocks: see ``timings.kept_blocks``.

    Returns:
        Columns ``COVERAGE_COLUMNS``, as results/README.md describes them.

    Raises:
        TimingsError: a request failed, or the tracks are not those of the reference.
    """
    if invalid := invalid_cells(timings, blocks, reference):
        (_, concurrency), reasons = next(iter(invalid.items()))
        raise TimingsError(f"S0 with {clients(concurrency)}: {'; '.join(reasons)}")
    of_repeats = dict(iter(blocks[blocks.arm == OPTION].groupby(_KEYS)))
    rows = []
    for key, means in block_means(timings, blocks, min_blocks).groupby(_KEYS):
        cost = trimmed_mean(means.cost_ms, confidence_level)
        control_ms = trimmed_mean(means.control_ms).value
        own = of_repeats[key]
        n_kept, n_disturbed = len(kept_blocks(own, min_blocks)), int((own.disturbed != "").sum())
        rows.append(
            (
                *(*key, *cost, cost.low <= 0 <= cost.high),
                *(control_ms, half_width(cost) / control_ms, n_kept, n_disturbed),
                *(own.others.mean(), own.steal.mean()),
            )
        )
    return pd.DataFrame(rows, columns=COVERAGE_COLUMNS)


def coverage_lines(table: pd.DataFrame, confidence_level: float) -> list[str]:
    """One line per concurrency: how often zero was in the interval, and what that may mean.

    Args:
        table: see ``coverage_table``.
        confidence_level: of its intervals; that of the counts is 0.95.
    """
    lines = []
    for concurrency, rows in table.groupby("concurrency"):
        held = int(rows.holds_zero.sum())
        test = binomtest(held, len(rows), confidence_level)
        low, high = test.proportion_ci(confidence_level=0.95)
        lines.append(
            f"{clients(concurrency)}: the interval held zero in {held} of {len(rows)} repeats "
            f"({held / len(rows):.0%}; exact binomial 95 % interval {low:.0%} to {high:.0%}; "
            f"expected: {confidence_level:.0%}); "
            f"half-width in the median {rows.half_width_share.median():.1%} of the control"
        )
    return lines
