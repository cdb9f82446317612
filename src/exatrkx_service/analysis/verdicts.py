"""Can a cell, an option under a load, be believed? Stable, unstable or invalid, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import hypot
from typing import Any

import pandas as pd

from exatrkx_service.analysis.breakdown import unattributed_share
from exatrkx_service.analysis.cells import (
    INVALID,
    STABLE,
    UNSTABLE,
    Cell,
    block_means,
    changing_answers,
    invalid_cells,
)
from exatrkx_service.analysis.timings import (
    BASELINE,
    BLOCK,
    CELL,
    OPTION,
    in_blocks,
    kept_blocks,
)
from exatrkx_service.measure.estimate import half_width, ratio, trimmed_mean

UNATTRIBUTED_TARGET = 0.02  # largest share of the time that may be in no part
# Of the interval of S0's cost against itself that must hold zero. Each run has several such cells,
# and by chance one in twenty of their 95 % intervals does not.
A_A_LEVEL = 0.999
ROUND_LEVEL = 0.99  # of the intervals by which the costs of two rounds must not lie apart


def verdicts(
    timings: pd.DataFrame,
    blocks: pd.DataFrame,
    reference: pd.DataFrame,
    jobs: Mapping[str, Mapping[str, Any]],
    *,
    precision: float,
    min_blocks: int,
) -> dict[Cell, tuple[str, str]]:
    """The verdict of each cell, and its reason.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        blocks: see ``timings.BLOCK_COLUMNS``.
        reference: one row per event, see ``timings.REFERENCE_COLUMNS``.
        jobs: the provenance of each measuring job.
        precision: half-width that the interval of a cost may have, as a share of the control's
            mean.
        min_blocks: see ``timings.kept_blocks``.

    Returns:
        By option and concurrency ``stable``, ``unstable`` (its numbers may be of something else
        than the option, or are not well known) or ``invalid`` (it has no numbers), and why; empty
        for ``stable``.
    """
    invalid = invalid_cells(timings, blocks, reference)
    means = block_means(timings, blocks, min_blocks)
    unstable = _unstable(timings, blocks, means, jobs, precision, min_blocks)
    found = {}
    for cell in timings.groupby(CELL).groups:
        own = means[(means.option == cell[0]) & (means.concurrency == cell[1])]
        bad = invalid.get(cell, []) or _a_a_off_zero(cell, own, precision)
        if bad:
            found[cell] = (INVALID, "; ".join(bad))
        elif reasons := unstable.get(cell):
            found[cell] = (UNSTABLE, "; ".join(dict.fromkeys(reasons)))
        else:
            found[cell] = (STABLE, "")
    return found


def _a_a_off_zero(cell: Cell, means: pd.DataFrame, precision: float) -> list[str]:
    """Two measurements of one thing that differ: what compares them is wrong."""
    if cell[0] != BASELINE:
        return []
    cost = trimmed_mean(means.cost_ms, A_A_LEVEL)
    control_ms = trimmed_mean(means.control_ms).value
    if cost.low <= 0 <= cost.high or not abs(cost.value) > precision * control_ms:
        return []
    return [
        f"A/A: {BASELINE} against itself costs {cost.value:+.2f} ms "
        f"[{cost.low:+.2f}, {cost.high:+.2f}] ({A_A_LEVEL:.1%}), not zero: no cost under this load "
        "can be trusted"
    ]


def _unstable(
    timings: pd.DataFrame,
    blocks: pd.DataFrame,
    means: pd.DataFrame,
    jobs: Mapping[str, Mapping[str, Any]],
    precision: float,
    min_blocks: int,
) -> dict[Cell, list[str]]:
    kept = kept_blocks(blocks, min_blocks)
    found: dict[Cell, list[str]] = defaultdict(list)
    for cell in blocks.groupby(CELL).groups:
        own = means[(means.option == cell[0]) & (means.concurrency == cell[1])]
        found[cell] += _imprecise(own, precision)
        found[cell] += _rounds_apart(own, precision)
    for cell, rows in kept[kept.disturbed != ""].groupby(CELL):
        number = len(rows.drop_duplicates(BLOCK))
        found[cell].append(
            f"too few blocks were undisturbed, so {number} others count: "
            f"{rows.disturbed.mode().iloc[0]}"
        )
    for cell, reason in changing_answers(timings).items():
        found[cell].append(reason)
    shares = unattributed_share(in_blocks(timings[timings.arm == OPTION], kept))
    for cell, share in shares[shares > UNATTRIBUTED_TARGET].items():
        found[cell].append(f"{share:.1%} of the time is in no part")
    for record in jobs.values():
        for load in record["job"].get("cells", ()):
            cell = record["job"]["option"], load["concurrency"]
            found[cell] += _of_job(record["job"], load)
    return found


def _imprecise(means: pd.DataFrame, precision: float) -> list[str]:
    if len(means) < 2:
        return [f"the cost is not known: {len(means)} blocks, at least 2 are needed"]
    width = half_width(trimmed_mean(means.cost_ms))
    share = width / trimmed_mean(means.control_ms).value
    if share <= precision:
        return []
    return [
        f"the cost is known to ±{width:.2f} ms, {share:.1%} of the control's time; "
        f"{precision:.1%} were asked for"
    ]


def _rounds_apart(means: pd.DataFrame, precision: float) -> list[str]:
    """The two rounds whose costs differ most, if by more than chance and the precision explain.

    A round is a job of its own, minutes or hours from the next one. A drift of the machine drops
    out of a cost, or out of its share of the control's time: where both differ, something else
    was measured.
    """
    costs, shares = {}, {}
    for number, own in means.groupby("round"):
        if len(own) > 1:
            costs[number] = trimmed_mean(own.cost_ms, ROUND_LEVEL)
            shares[number] = ratio(own.cost_ms, own.control_ms, ROUND_LEVEL)
    if len(costs) < 2:
        return []
    high, low = (choose(shares, key=lambda n: shares[n].value) for choose in (max, min))
    for of, least in (
        (costs, precision * trimmed_mean(means.control_ms).value),
        (shares, precision),
    ):
        chance = hypot(half_width(of[high]), half_width(of[low]))
        if of[high].value - of[low].value <= max(chance, least):
            return []
    return [
        f"it cost {costs[high].value:+.2f} ms in round {high} and {costs[low].value:+.2f} ms in "
        f"round {low}, {shares[high].value:+.1%} and {shares[low].value:+.1%} of the control's time"
    ]


def _of_job(job: Mapping[str, Any], load: Mapping[str, Any]) -> list[str]:
    """What the job itself says against its cells."""
    where = f" in round {job['round']}"
    found = []
    if load.get("ended_early"):
        found.append(f"ended early{where}: {load['ended_early']}")
    if cold := job.get("cold_processes"):
        found.append(f"{len(cold)} processes of models were not warm{where}")
    allowed = job.get("limits", {}).get("affinity")
    bound = {name: cpus for name, cpus in job.get("affinities", {}).items() if cpus != allowed}
    if allowed and bound:
        name, cpus = next(iter(bound.items()))
        found.append(f"process {name} was bound to the CPUs {cpus} of {allowed}{where}")
    return found
