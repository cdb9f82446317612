"""Can a cell, an option under a load, be believed? Stable, unstable or invalid, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy import stats

from exatrkx_service.analysis.timings import NS_PER_MS, invalid_cells, total_rows

STABLE, UNSTABLE, INVALID = "stable", "unstable", "invalid"
ROUND_TOLERANCE = 0.05  # rounds whose means differ by less than this share agree
ROUND_P_VALUE = 0.01  # and so do rounds whose difference chance explains
# What may happen on the machine meanwhile, see ``measure.host.between``: CPUs kept busy by others,
# or taken by the machine's host, and the share of its periods in which a quota stops us.
HOST_TOLERANCE = {"others": 0.15, "steal": 0.1, "throttled": 0.02}
_HOST_TEXT = {
    "others": "other processes kept {:.2f} CPUs busy",
    "steal": "the machine's host took {:.2f} CPUs",
    "throttled": "a CPU quota stopped the processes in {:.0%} of its periods",
}
Cell = tuple[str, int]  # option and concurrency


def verdicts(
    timings: pd.DataFrame, reference: pd.DataFrame, jobs: Mapping[str, Mapping[str, Any]]
) -> dict[Cell, tuple[str, str]]:
    """The verdict of each cell, and its reason.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        reference: one row per event, see ``timings.REFERENCE_COLUMNS``.
        jobs: the provenance of each measuring job.

    Returns:
        By option and concurrency ``stable``, ``unstable`` (its numbers may be of something else
        than the option) or ``invalid`` (it has no numbers), and why; empty for ``stable``.
    """
    invalid = invalid_cells(timings, reference)
    unstable = {**defaultdict(list), **_disturbed(jobs)}
    for cell, reason in _rounds_apart(timings).items():
        unstable[cell] = [*unstable.get(cell, []), reason]
    cells = total_rows(timings).groupby(["option", "concurrency"]).groups
    found = {}
    for cell in cells:
        if reasons := invalid.get(cell):
            found[cell] = (INVALID, "; ".join(reasons))
        elif reasons := unstable.get(cell):
            found[cell] = (UNSTABLE, "; ".join(reasons))
        else:
            found[cell] = (STABLE, "")
    return found


def _disturbed(jobs: Mapping[str, Mapping[str, Any]]) -> dict[Cell, list[str]]:
    """Cells in which the machine did other things as well, or a model was not warm."""
    found: dict[Cell, list[str]] = defaultdict(list)
    for record in jobs.values():
        job = record["job"]
        for load in job.get("cells", ()):
            reasons = [
                _HOST_TEXT[key].format(load[key])
                for key, limit in HOST_TOLERANCE.items()
                if load.get(key, 0) > limit
            ]
            if cold := job.get("cold_processes"):
                reasons.append(f"{len(cold)} processes of models were not warm")
            for reason in reasons:
                where = f" in round {job['round']}"
                found[job["option"], load["concurrency"]].append(reason + where)
    return dict(found)


def _rounds_apart(timings: pd.DataFrame) -> dict[Cell, str]:
    """Cells whose rounds disagree.

    A round is a job of its own, minutes or hours from the next one, so a difference between
    rounds is a drift of the machine that no interval over events can show. Two rounds are
    compared event by event: the slowest and the fastest one disagree if their means over the
    events that both measured differ by more than ``ROUND_TOLERANCE``, and a paired t-test over
    these events gives a p-value below ``ROUND_P_VALUE``. The first condition ignores
    differences that matter to no one, the second those that few or noisy events make by chance.
    The idea of a warning beside the result is pyperf's (pyperf, "Stable benchmark").
    """
    totals = total_rows(timings)
    totals = totals[totals.status == "ok"]
    apart = {}
    for cell, samples in totals.groupby(["option", "concurrency"]):
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
        if stats.ttest_rel(rounds[slow], rounds[fast]).pvalue < ROUND_P_VALUE:
            apart[cell] = (
                f"round {slow} took {means[slow]:.2f} ms per event and round {fast} "
                f"{means[fast]:.2f} ms, {spread:.0%} apart"
            )
    return apart


def verdict_lines(summary: pd.DataFrame, verdict: str) -> list[str]:
    """One line per cell that has a verdict: which cell, and why."""
    reasons = summary.reason[summary.verdict == verdict]
    return [f"{c}: {r}" for c, r in zip(cells_of(summary, verdict), reasons, strict=True)]


def cells_of(summary: pd.DataFrame, verdict: str) -> list[str]:
    """The cells that have a verdict: 'S3 with 4 clients'."""
    rows = summary[summary.verdict == verdict]
    return [
        f"{option} with {clients(concurrency)}"
        for option, concurrency in zip(rows.option, rows.concurrency, strict=True)
    ]


def clients(concurrency: int) -> str:
    """'1 client', '4 clients'."""
    return f"{concurrency} client" + ("s" if concurrency != 1 else "")
