"""From raw samples to the tables a physicist cites: means, intervals, quantiles, shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from exatrkx_service.analysis.timings import (
    ENSEMBLE,
    NS_PER_MS,
    PARTS,
    PIPELINE,
    STAGES,
    check_reference,
    check_timings,
    comparable,
    part_rows,
    total_rows,
    tracks_identical,
)
from exatrkx_service.analysis.verdicts import INVALID, verdicts
from exatrkx_service.options import natural_key

# Quantiles [%] that are reported, each with the samples it needs: above it at least one of them is
# expected, n (1 - q / 100) >= 1. Any number has a median.
MIN_SAMPLES = {50: 1, 95: 20, 99: 100}
SUMMARY_COLUMNS = [
    "option",
    "concurrency",
    "n_events",
    "n_failed",
    "mean_ms",
    "std_ms",
    "ci95_low_ms",
    "ci95_high_ms",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "throughput_evt_s",
    "tracks_identical",
    "slowdown_vs_S0",
    "verdict",
    "reason",
]
COST_COLUMNS = ["option", "concurrency", "cost_ms", "ci95_low_ms", "ci95_high_ms"]
BREAKDOWN_COLUMNS = [
    "option",
    "concurrency",
    "stage",
    "part",
    "mean_ms",
    "ci95_low_ms",
    "ci95_high_ms",
    "share",
]


def mean_interval(
    sums: np.ndarray, counts: np.ndarray, *, confidence_level: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval of a mean over events and rounds.

    Samples are not independent draws: the repetitions of one event share its number of space
    points and edges, and the samples of one round share the state of the machine. So whole events
    and whole rounds are resampled, each with replacement, and the statistic is the sum of the
    sums over the sum of the counts in their crossings. With one round, events alone are resampled.
    The percentile interval is used: it is defined for a part that never varies, where BCa is not.

    The interval says how far the mean would move with other events and another time on the same
    machine. With few rounds the second is known roughly: the interval spans about their range.

    Source: A. B. Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1 (2007) 386; scipy.stats.

    Args:
        sums: float (..., R, E): per round and event the sum of its samples.
        counts: (R, E): per round and event the number of its samples; 0 where all failed.
        confidence_level: between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling; the same one gives the same interval.

    Returns:
        Lower and upper bounds, each of shape (...), in the unit of ``sums``. NaN for fewer
        than two events.
    """
    n_rounds, n_events = counts.shape
    if n_events < 2:
        nothing = np.full(sums.shape[:-2], np.nan)
        return nothing, nothing
    overall = sums.sum((-2, -1)) / counts.sum()
    only_round = np.zeros(1, dtype=int)

    def mean(events: np.ndarray, rounds: np.ndarray = only_round, axis: int = -1) -> np.ndarray:
        crossing = rounds[..., :, None], events[..., None, :]
        number = counts[crossing].sum((-2, -1))
        total = sums[..., *crossing].sum((-2, -1))
        # A resample of failures alone says nothing.
        return np.where(number > 0, total / np.maximum(number, 1), overall[..., None])

    interval = stats.bootstrap(
        (np.arange(n_events), np.arange(n_rounds))[: 1 if n_rounds == 1 else 2],
        mean,
        vectorized=True,
        n_resamples=resamples,
        batch=50,  # holds the memory to 50 resamples at a time
        confidence_level=confidence_level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return interval.low, interval.high


def _cells(times: pd.Series, samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts (R, E) of the samples' times per round and event, for ``mean_interval``."""
    groups = times.groupby([samples["round"], samples.event])
    return tuple(table.unstack(fill_value=0).to_numpy() for table in (groups.sum(), groups.count()))


def summarise(
    timings: pd.DataFrame,
    reference: pd.DataFrame,
    jobs: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    confidence_level: float,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """One row per option and concurrency with the times of an event as the client sees them.

    The statistics run over all samples (events x repetitions x rounds). Where the verdict is
    ``invalid``, see ``timings.invalid_cells``, all of them are NaN. The interval is explained in
    ``mean_interval``, the throughput in ``throughput_per_round``.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        reference: one row per event with the labels' hash, see ``timings.REFERENCE_COLUMNS``.
        jobs: the provenance of each job, for what disturbed it; see ``verdicts``.
        confidence_level: of the interval of the mean, between 0 and 1. The columns are named
            for the default, 0.95.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Returns:
        Columns ``SUMMARY_COLUMNS``: ``n_events`` (distinct events measured without failure),
        ``n_failed`` (failed samples), times [ms], ``std_ms`` over samples (n - 1),
        ``throughput_evt_s`` [events/s], ``tracks_identical`` (bool), ``slowdown_vs_S0`` (mean
        over S0's at the same concurrency; NaN where S0 has none), ``verdict`` and ``reason``.
        Quantiles: ``quantiles``.

    Raises:
        TimingsError: the samples or the reference are malformed.
    """
    check_timings(timings, "timings")
    check_reference(reference, "reference")
    identical = tracks_identical(timings, reference)
    judged = verdicts(timings, reference, jobs or {})
    rates = throughput_per_round(timings).groupby(["option", "concurrency"])
    rows = []
    for (option, concurrency), samples in total_rows(timings).groupby(["option", "concurrency"]):
        ok = samples[samples.status == "ok"]
        row = {
            "option": option,
            "concurrency": concurrency,
            "n_events": ok.event.nunique(),
            "n_failed": len(samples) - len(ok),
            "tracks_identical": bool(identical[option, concurrency]),
        }
        row["verdict"], row["reason"] = judged[option, concurrency]
        if row["verdict"] != INVALID:
            times = ok.duration_ns / NS_PER_MS
            low, high = mean_interval(
                *_cells(times, ok),
                confidence_level=confidence_level,
                resamples=resamples,
                seed=seed,
            )
            rounds = rates.get_group((option, concurrency))
            row |= {
                "mean_ms": times.mean(),
                "std_ms": times.std(ddof=1),
                "ci95_low_ms": float(low),
                "ci95_high_ms": float(high),
                "throughput_evt_s": rounds.n_ok.sum() / rounds.window_s.sum(),
            } | {f"p{q}_ms": value for q, value in quantiles(times).items()}
        rows.append(row)
    summary = pd.DataFrame(rows).reindex(columns=SUMMARY_COLUMNS)
    baseline = summary[summary.option == "S0"].set_index("concurrency").mean_ms
    summary["slowdown_vs_S0"] = summary.mean_ms / summary.concurrency.map(baseline).astype(float)
    return _sorted(summary, ["concurrency"])


def quantiles(values: Collection[float]) -> dict[int, float]:
    """The quantiles of ``MIN_SAMPLES`` in the unit of the values; NaN where they are too few."""
    return {
        q: float(np.percentile(values, q)) if len(values) >= needed else np.nan
        for q, needed in MIN_SAMPLES.items()
    }


def throughput_per_round(timings: pd.DataFrame) -> pd.DataFrame:
    """Events finished per second in each round.

    The window of a round runs from the start of its first sample to the end of its last one at
    that concurrency; failed samples take their time in it and do not count as finished.

    Returns:
        Columns option, concurrency, round, n_ok, window_s [s], throughput_evt_s [events/s].
    """
    totals = total_rows(timings)
    table = (
        totals.assign(end_ns=totals.start_ns + totals.duration_ns, ok=totals.status == "ok")
        .groupby(["option", "concurrency", "round"], as_index=False)
        .agg(n_ok=("ok", "sum"), first=("start_ns", "min"), last=("end_ns", "max"))
    )
    table["window_s"] = (table["last"] - table["first"]) / 1e9
    table["throughput_evt_s"] = table.n_ok / table.window_s
    return table.drop(columns=["first", "last"])


def breakdown(
    timings: pd.DataFrame,
    reference: pd.DataFrame,
    *,
    confidence_level: float,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Mean time of every part of every stage; the parts of an option add up to its mean.

    A sample in which a part does not occur counts with 0 for it, so that the parts' means add
    up to the mean of the totals. Pairs of option and concurrency whose tracks are not the
    reference's are left out, see ``timings.comparable``.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        reference: one row per event with the labels' hash.
        confidence_level: of the interval of the mean, between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Returns:
        Columns ``BREAKDOWN_COLUMNS``: times [ms]; ``share`` is the part's fraction of the
        option's mean total at that concurrency.

    Raises:
        TimingsError: the samples or the reference are malformed.
    """
    check_timings(timings, "timings")
    check_reference(reference, "reference")
    valid = comparable(timings, reference)
    totals = total_rows(valid)
    totals = totals[totals.status == "ok"]
    parts = dict(iter(part_rows(valid).groupby(["option", "concurrency"])))
    tables = []
    for (option, concurrency), samples in totals.groupby(["option", "concurrency"]):
        if (option, concurrency) not in parts:
            continue
        counts = samples.groupby(["round", "event"]).size().unstack(fill_value=0)
        cells = pd.MultiIndex.from_product([counts.index, counts.columns])
        sums = (
            parts[option, concurrency]
            .pivot_table(
                index=["stage", "part"],
                columns=["round", "event"],
                values="duration_ns",
                aggfunc="sum",
                fill_value=0,
            )
            .reindex(columns=cells, fill_value=0)
            / NS_PER_MS
        )
        low, high = mean_interval(
            sums.to_numpy().reshape(len(sums), *counts.shape),
            counts.to_numpy(),
            confidence_level=confidence_level,
            resamples=resamples,
            seed=seed,
        )
        table = sums.sum(axis=1).div(len(samples)).rename("mean_ms").reset_index()
        tables.append(
            table.assign(
                option=option,
                concurrency=concurrency,
                ci95_low_ms=low,
                ci95_high_ms=high,
                share=table.mean_ms / (samples.duration_ns.mean() / NS_PER_MS),
            )
        )
    if not tables:
        return pd.DataFrame(columns=BREAKDOWN_COLUMNS)
    table = pd.concat(tables)[BREAKDOWN_COLUMNS]
    stage_rank = {name: i for i, name in enumerate([*STAGES, ENSEMBLE, PIPELINE])}
    part_rank = {name: i for i, name in enumerate(PARTS)}
    table = table.assign(_stage=table.stage.map(stage_rank), _part=table.part.map(part_rank))
    return _sorted(table, ["concurrency", "_stage", "_part"])[BREAKDOWN_COLUMNS]


def cost_vs_s0(
    timings: pd.DataFrame,
    reference: pd.DataFrame,
    *,
    confidence_level: float,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """What an option costs: the mean difference to S0, event by event and round by round.

    The interval of an option's mean is wide because events differ in size. All options measure
    the same events, so in the difference of an event's two means its size drops out. The
    difference is taken within each round, whose measurements lie near each other in time.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        reference: one row per event with the labels' hash.
        confidence_level: of the interval, between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Returns:
        Columns ``COST_COLUMNS`` [ms]: over the events and rounds that both measured at that
        concurrency, the mean of (mean time of the event - its mean time in S0), with its
        interval. No row for S0, and none where S0 has no valid samples.

    Raises:
        TimingsError: the samples or the reference are malformed.
    """
    check_timings(timings, "timings")
    check_reference(reference, "reference")
    means = event_means(comparable(timings, reference), by_round=True)
    keys = ["concurrency", "round", "event"]
    baseline = means.loc[means.option == "S0", [*keys, "mean_ms"]]
    pairs = means[means.option != "S0"].merge(baseline, on=keys, suffixes=("", "_s0"))
    rows = []
    for (option, concurrency), events in pairs.groupby(["option", "concurrency"]):
        cost = events.mean_ms - events.mean_ms_s0
        low, high = mean_interval(
            *_cells(cost, events),
            confidence_level=confidence_level,
            resamples=resamples,
            seed=seed,
        )
        rows.append((option, concurrency, cost.mean(), float(low), float(high)))
    return _sorted(pd.DataFrame(rows, columns=COST_COLUMNS), ["concurrency"])


def event_means(timings: pd.DataFrame, *, by_round: bool = False) -> pd.DataFrame:
    """Mean time of each event over its repetitions and rounds, failed samples left out.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        by_round: one mean per round; there is a column ``round`` then.

    Returns:
        Columns option, concurrency, event, n_space_points, mean_ms [ms], n_samples.
    """
    keys = ["option", "concurrency", *(["round"] if by_round else []), "event"]
    totals = total_rows(timings)
    means = (
        totals[totals.status == "ok"]
        .groupby(keys, as_index=False)
        .agg(
            n_space_points=("n_space_points", "first"),
            mean_ms=("duration_ns", "mean"),
            n_samples=("duration_ns", "size"),
        )
    )
    means["mean_ms"] /= NS_PER_MS
    return means


def _sorted(table: pd.DataFrame, then: list[str]) -> pd.DataFrame:
    rank = {name: i for i, name in enumerate(sorted(table.option.unique(), key=natural_key))}
    return (
        table.assign(_option=table.option.map(rank))
        .sort_values(["_option", *then], kind="stable")
        .drop(columns="_option")
        .reset_index(drop=True)
    )
