"""From raw samples to the numbers a physicist cites: means, costs, intervals, quantiles, rates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.analysis.cells import INVALID, block_means, same_tracks, tracks_identical
from exatrkx_service.analysis.timings import (
    BLOCK,
    CELL,
    NS_PER_MS,
    OPTION,
    check_blocks,
    check_reference,
    check_timings,
    check_together,
    in_blocks,
    kept_blocks,
    total_rows,
)
from exatrkx_service.analysis.verdicts import verdicts
from exatrkx_service.measure.estimate import ratio, trimmed_mean
from exatrkx_service.options import natural_key

# Quantiles [%] that are reported, each with the samples it needs: above it at least one of them is
# expected, n (1 - q / 100) >= 1. Any number has a median.
MIN_SAMPLES = {50: 1, 95: 20, 99: 100}
COST = ["cost_ms", "cost_low_ms", "cost_high_ms"]
SLOWDOWN = ["slowdown_vs_S0", "slowdown_low", "slowdown_high"]
SUMMARY_COLUMNS = [
    *("option", "concurrency", "n_events", "n_blocks", "n_failed", "n_rejected"),
    *("mean_ms", "std_ms", "ci95_low_ms", "ci95_high_ms", "p50_ms", "p95_ms", "p99_ms"),
    *("throughput_evt_s", *COST, "control_ms"),
    *SLOWDOWN,
    *("client_cpu_ms", "server_cpu_ms", "client_pss_mib", "server_pss_mib"),
    *("tracks_identical", "same_tracks", "verdict", "reason"),
]
COST_COLUMNS = ["option", "concurrency", "cost_ms", "ci95_low_ms", "ci95_high_ms"]


def summarise(
    timings: pd.DataFrame,
    blocks: pd.DataFrame,
    reference: pd.DataFrame,
    jobs: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    confidence_level: float,
    precision: float,
    min_blocks: int,
) -> pd.DataFrame:
    """One row per option and concurrency with the times of an event as the client sees them.

    Means are trimmed means over the blocks that count, of all rounds, see
    ``estimate.trimmed_mean``. The cost is that of the differences to the control, block by block:
    what differs from block to block, the events and the state of the machine, drops out. Over the
    control's time it is the slowdown less one, see ``estimate.ratio``. Where the verdict is
    ``invalid`` all of them are NaN.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        blocks: see ``timings.BLOCK_COLUMNS``.
        reference: one row per event with the labels' hash, see ``timings.REFERENCE_COLUMNS``.
        jobs: the provenance of each job, for what it says against its cells and for its memory.
        confidence_level: of the intervals, between 0 and 1. The columns are named for the
            default, 0.95.
        precision: that was asked for, see ``verdicts``.
        min_blocks: see ``timings.kept_blocks``.

    Returns:
        Columns ``SUMMARY_COLUMNS``, as results/README.md describes them. The row of S0 has S0 as
        its control as well: its cost is the A/A row. Quantiles: ``quantiles``.

    Raises:
        TimingsError: the samples, the blocks or the reference are malformed.
    """
    check_timings(timings, "timings")
    check_blocks(blocks, "blocks")
    check_reference(reference, "reference")
    check_together(timings, blocks)
    options = timings[timings.arm == OPTION]
    identical = tracks_identical(timings, reference)
    same = same_tracks(timings, reference)
    judged = verdicts(
        timings, blocks, reference, jobs or {}, precision=precision, min_blocks=min_blocks
    )
    kept = kept_blocks(blocks, min_blocks)
    means = block_means(timings, blocks, min_blocks)
    of_blocks = dict(iter(kept[kept.arm == OPTION].groupby(CELL)))
    memory = _memory(jobs or {})
    failed = blocks[blocks.arm == OPTION].groupby(CELL).n_failed.sum()
    rows = []
    for cell, samples in total_rows(options).groupby(CELL):
        ok = in_blocks(samples[samples.status == "ok"], kept)
        row = dict(zip(CELL, cell, strict=True)) | {
            "n_events": ok.event.nunique(),
            "n_blocks": len(of_blocks[cell].drop_duplicates(BLOCK)),
            "n_failed": max((samples.status == "failed").sum(), failed[cell]),
            "n_rejected": (samples.status == "rejected").sum(),
            "tracks_identical": bool(identical[cell]),
            "same_tracks": same[cell],
        }
        row["verdict"], row["reason"] = judged[cell]
        if row["verdict"] != INVALID:
            times = ok.duration_ns / NS_PER_MS
            row |= {"std_ms": times.std(ddof=1)} | memory.get(cell, {})
            own = means[(means.option == cell[0]) & (means.concurrency == cell[1])]
            row |= _estimates(own, confidence_level) | _rates(of_blocks[cell])
            row |= {f"p{q}_ms": value for q, value in quantiles(times).items()}
        rows.append(row)
    return sort_options(pd.DataFrame(rows).reindex(columns=SUMMARY_COLUMNS))


def _estimates(means: pd.DataFrame, confidence_level: float) -> dict[str, float]:
    """Means over the blocks of a cell, with their intervals [ms]."""
    names = {
        "option_ms": ("mean_ms", "ci95_low_ms", "ci95_high_ms"),
        "cost_ms": COST,
        "control_ms": ("control_ms",),
    }
    row: dict[str, float] = {}
    for column, columns in names.items():
        row |= zip(columns, trimmed_mean(means[column], confidence_level), strict=False)
    share = ratio(means.cost_ms, means.control_ms, confidence_level)
    return row | {name: 1 + part for name, part in zip(SLOWDOWN, share, strict=True)}


def _rates(blocks: pd.DataFrame) -> dict[str, float]:
    """Of the blocks of one arm: events per second, CPU time per event done [ms]."""
    events, done, window = (blocks[key].sum() for key in ("n_in_window", "n_done", "window_s"))
    return {
        "throughput_evt_s": events / window if window else np.nan,
        **{
            f"{side}_cpu_ms": blocks[f"{side}_cpu_ms"].sum(skipna=False) / max(done, 1)
            for side in ("client", "server")
        },
    }


def _memory(jobs: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, int], dict[str, float]]:
    """The largest memory [MiB] of each cell in any round."""
    keys = ["client_pss_mib", "server_pss_mib"]
    rows = [
        (record["job"]["option"], load["concurrency"], *(load.get(key) for key in keys))
        for record in jobs.values()
        for load in record["job"].get("cells", ())
    ]
    table = pd.DataFrame(rows, columns=[*CELL, *keys]).astype(dict.fromkeys(keys, float))
    return table.groupby(CELL)[keys].max().to_dict("index")


def cost_table(summary: pd.DataFrame) -> pd.DataFrame:
    """What each valid option costs, and S0 against itself: columns ``COST_COLUMNS`` [ms]."""
    return (
        summary.dropna(subset="cost_ms")[[*CELL, *COST]]
        .set_axis(COST_COLUMNS, axis="columns")
        .reset_index(drop=True)
    )


def quantiles(values: Collection[float]) -> dict[int, float]:
    """The quantiles of ``MIN_SAMPLES`` in the unit of the values; NaN where they are too few."""
    return {
        q: float(np.percentile(values, q)) if len(values) >= needed else np.nan
        for q, needed in MIN_SAMPLES.items()
    }


def event_means(timings: pd.DataFrame) -> pd.DataFrame:
    """Mean time of each event over its repetitions and rounds, failed samples left out.

    Args:
        timings: samples of the options, see ``cells.comparable``.

    Returns:
        Columns option, concurrency, event, n_space_points, mean_ms [ms], n_samples.
    """
    totals = total_rows(timings)
    means = (
        totals[totals.status == "ok"]
        .groupby([*CELL, "event"], as_index=False)
        .agg(
            n_space_points=("n_space_points", "first"),
            mean_ms=("duration_ns", "mean"),
            n_samples=("duration_ns", "size"),
        )
    )
    means["mean_ms"] /= NS_PER_MS
    return means


def sort_options(table: pd.DataFrame) -> pd.DataFrame:
    """The table in natural order of the options, then by concurrency."""
    rank = {name: i for i, name in enumerate(sorted(table.option.unique(), key=natural_key))}
    return table.sort_values(
        CELL,
        key=lambda column: column.map(rank) if column.name == "option" else column,
        ignore_index=True,
    )
