"""Is a benchmark sound? Do the parts add up, do the rounds agree, did the machines match?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from scipy import stats

from exatrkx_service.analysis.summary import NS_PER_MS
from exatrkx_service.analysis.timings import (
    SAMPLE,
    TimingsError,
    check_timings,
    option_order,
    part_rows,
    total_rows,
)

SUM_TOLERANCE = 0.01  # largest share of an event's time that no part may account for
ROUND_TOLERANCE = 0.05  # rounds whose means differ by less than this share agree
ROUND_P_VALUE = 0.01  # and so do rounds whose difference chance explains
# Of each job its own.
JOB_KEYS = (
    *("option", "round", "began", "load_average", "start_s", "warmup_s", "timed_s", "wall_s"),
    "statistics",
)
SPAN_TOLERANCE = timedelta(hours=12)  # jobs further apart may have met another state of the machine


def check_sums(timings: pd.DataFrame, tolerance: float = SUM_TOLERANCE) -> float:
    """The largest relative gap between the parts of an event and its total.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        tolerance: largest gap that is accepted, as a fraction of the total.

    Returns:
        max |sum of parts - total| / total over all samples that did not fail; 0 if all failed.

    Raises:
        TimingsError: the gap is above the tolerance; names the option and the event.
    """
    check_timings(timings, "timings")
    sums = _part_sums(timings)
    if sums.empty:
        return 0.0
    gap = (sums.parts_ns - sums.total_ns).abs() / sums.total_ns
    worst = sums.loc[gap.idxmax()]
    if gap.max() > tolerance:
        raise TimingsError(
            f"timings: option {worst.option}, event {worst.event} (round {worst['round']}, "
            f"concurrency {worst.concurrency}, repetition {worst.repetition}): the parts add up "
            f"to {worst.parts_ns / NS_PER_MS:.3f} ms, the total is "
            f"{worst.total_ns / NS_PER_MS:.3f} ms; at most {tolerance:.0%} may differ"
        )
    return float(gap.max())


def stability_warnings(timings: pd.DataFrame) -> list[str]:
    """One line per option and concurrency whose rounds disagree.

    A round is a job of its own, minutes or hours from the next one, so a difference between
    rounds is a drift of the machine that no interval over events can show. Two rounds are
    compared event by event: the slowest and the fastest one disagree if their means over the
    events that both measured differ by more than ``ROUND_TOLERANCE``, and a paired t-test over
    these events gives a p-value below ``ROUND_P_VALUE``. The first condition ignores
    differences that matter to no one, the second those that few or noisy events make by chance.
    The idea of a warning beside the result is pyperf's (pyperf, "Stable benchmark").

    Args:
        timings: raw samples, see ``timings.COLUMNS``.

    Returns:
        The warnings, in the order of the options; empty when all rounds agree or there is
        only one.
    """
    totals = total_rows(timings)
    totals = totals[totals.status == "ok"]
    warnings = []
    for option in option_order(totals.option):
        for concurrency, samples in totals[totals.option == option].groupby("concurrency"):
            rounds = (
                samples.pivot_table(index="event", columns="round", values="duration_ns").dropna()
                / NS_PER_MS
            )
            if rounds.shape[1] < 2 or len(rounds) < 2:
                continue
            means = rounds.mean()
            slow, fast = means.idxmax(), means.idxmin()
            spread = (means[slow] - means[fast]) / means.mean()
            if spread <= ROUND_TOLERANCE:
                continue
            p_value = stats.ttest_rel(rounds[slow], rounds[fast]).pvalue
            if p_value < ROUND_P_VALUE:
                warnings.append(
                    f"{option} at concurrency {concurrency}: round {slow} took "
                    f"{means[slow]:.2f} ms per event and round {fast} {means[fast]:.2f} ms, "
                    f"{spread:.0%} apart; run again on a quiet machine"
                )
    return warnings


def span_warnings(records: dict[str, dict[str, Any]]) -> list[str]:
    """Says so if the jobs that are compared began further apart than ``SPAN_TOLERANCE``.

    Args:
        records: the provenance of each job under the job's name, such as ``S1/round2``.

    Returns:
        One warning, or none.
    """
    began = {job: datetime.fromisoformat(record["job"]["began"]) for job, record in records.items()}
    first, last = min(began, key=began.get), max(began, key=began.get)
    if began[last] - began[first] <= SPAN_TOLERANCE:
        return []
    return [
        f"{first} was measured on {began[first]:%Y-%m-%d %H:%M} and {last} on "
        f"{began[last]:%Y-%m-%d %H:%M} (UTC): the machine may have changed between them"
    ]


def untimed_share(records: dict[str, dict[str, Any]]) -> float:
    """Fraction of the measuring jobs' time outside their timed windows: start, warm-up, stop.

    Args:
        records: the provenance of each job.
    """
    jobs = [record["job"] for record in records.values()]
    return 1 - sum(job["timed_s"] for job in jobs) / sum(job["wall_s"] for job in jobs)


def combine_provenance(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Merge the provenance of the measuring jobs and show where they differ.

    Options are only comparable if they ran with the same versions on the same machine, so what
    all jobs share is kept once and what differs is listed per job.

    Args:
        records: the provenance of each job under the job's name, such as ``S1/round2``.

    Returns:
        ``{"common": ..., "differs": ..., "jobs": ...}``: ``common`` is nested as the records are
        and holds each key on which all jobs agree that have a value for it (an option without a
        server has no server version); ``differs`` maps a dotted key to {job: value}; ``jobs``
        holds per job what is its own by nature, ``JOB_KEYS``.
    """
    jobs: dict[str, dict[str, Any]] = {job: {} for job in records}
    values: dict[tuple[str, ...], dict[str, Any]] = {}
    for job, record in records.items():
        for key, value in _flatten(record).items():
            if key[-1] in JOB_KEYS:
                jobs[job][".".join(key)] = value
            elif value is not None:
                values.setdefault(key, {})[job] = value
    common: dict[str, Any] = {}
    differs: dict[str, dict[str, Any]] = {}
    for key, by_job in values.items():
        first, *others = by_job.values()
        if any(value != first for value in others):
            differs[".".join(key)] = by_job
            continue
        inner = common
        for name in key[:-1]:
            inner = inner.setdefault(name, {})
        inner[key[-1]] = first
    return {"common": common, "differs": differs, "jobs": jobs}


def _part_sums(timings: pd.DataFrame) -> pd.DataFrame:
    """Per sample that did not fail its ``total_ns`` and the sum of its parts, ``parts_ns``."""
    totals = total_rows(timings)
    totals = totals.loc[totals.status == "ok", [*SAMPLE, "duration_ns"]]
    parts = part_rows(timings).groupby(SAMPLE, as_index=False).duration_ns.sum()
    return (
        totals.rename(columns={"duration_ns": "total_ns"})
        .merge(parts.rename(columns={"duration_ns": "parts_ns"}), on=SAMPLE, how="left")
        .fillna({"parts_ns": 0})
    )


def _flatten(record: dict[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    flat: dict[tuple[str, ...], Any] = {}
    for key, value in record.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, (*prefix, key))
        else:
            flat[(*prefix, key)] = value
    return flat
