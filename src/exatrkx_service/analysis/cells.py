"""Cells, each an option under a load: which have numbers, and of which samples those are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from exatrkx_service.analysis.timings import (
    BLOCK,
    CELL,
    CONTROL,
    MODEL,
    OPTION,
    TimingsError,
    in_blocks,
    kept_blocks,
    total_rows,
)
from exatrkx_service.measure.load import hash_labels

STABLE, UNSTABLE, INVALID = "stable", "unstable", "invalid"
Cell = tuple[str, int]  # option and concurrency


def comparable(
    timings: pd.DataFrame, blocks: pd.DataFrame, summary: pd.DataFrame, min_blocks: int
) -> pd.DataFrame:
    """The samples that tables and figures show: of the options, in blocks that count, and valid.

    Args:
        timings: raw samples, see ``timings.COLUMNS``.
        blocks: see ``timings.BLOCK_COLUMNS``.
        summary: see ``summary.summarise``; its verdicts count.
        min_blocks: see ``timings.kept_blocks``.
    """
    valid = summary.loc[summary.verdict != INVALID, CELL]
    chosen = timings[timings.arm == OPTION]
    chosen = chosen[_cells(chosen).isin(_cells(valid))]
    return in_blocks(chosen, kept_blocks(blocks, min_blocks))


def block_means(timings: pd.DataFrame, blocks: pd.DataFrame, min_blocks: int) -> pd.DataFrame:
    """Mean times of the option and of its control in each block that counts.

    Args: as of ``comparable``.

    Returns:
        Columns ``timings.BLOCK``, ``option_ms``, ``control_ms`` and their difference ``cost_ms``
        [ms]; blocks in which one of them finished nothing are left out.
    """
    totals = total_rows(in_blocks(timings, kept_blocks(blocks, min_blocks)))
    means = (
        totals[totals.status == "ok"]
        .pivot_table(index=BLOCK, columns="arm", values="duration_ns", aggfunc="mean")
        .reindex(columns=[OPTION, CONTROL])
        .dropna()
        .div(1e6)
        .add_suffix("_ms")
        .reset_index()
        .rename_axis(columns=None)
    )
    return means.assign(cost_ms=means.option_ms - means.control_ms)


def invalid_cells(
    timings: pd.DataFrame, blocks: pd.DataFrame, reference: pd.DataFrame
) -> dict[Cell, list[str]]:
    """The cells whose times are not those of the option, and why.

    With one request that failed or was turned away, or one event with other tracks, the times of
    the others are those of a lesser load, or of another computation: they are not averaged. Where
    no event has a track nothing was found, however fast. The control counts as the option does.
    Somebody else's model may find other tracks than ours.

    Raises:
        TimingsError: an event that was measured has no row in the reference.
    """
    agrees = _labels_agree(timings, reference)
    their_own = timings.option.isin(theirs(timings)) & (timings.arm == OPTION)
    failures = blocks.groupby(CELL).n_failed.sum()
    ours_found = reference.n_tracks > 0
    reasons: dict[Cell, list[str]] = {}
    for cell, samples in total_rows(timings).groupby(CELL):
        failed = samples[samples.status == "failed"]
        # The blocks count them as well; no failure must be lost with its sample.
        n_failed = max(len(failed), int(failures.get(cell, 0)))
        found = []
        if n_failed:
            often = f", most often: {failed.error.mode().iloc[0]}" if len(failed) else ""
            found.append(f"{n_failed} requests failed{often}")
        rejected = samples[samples.status == "rejected"]
        if len(rejected):
            found.append(
                f"{len(rejected)} requests were turned away by the server, which is its limit and "
                f"no failure: {rejected.error.mode().iloc[0]}"
            )
        of_ours = samples[~their_own[samples.index]]
        others = of_ours[~agrees[of_ours.index] & (of_ours.status == "ok")]
        if len(others):
            whose = " in the control" if set(others.arm) == {CONTROL} else ""
            found.append(f"other tracks than the reference{whose}")
        if not (_found_tracks(samples) if cell[0] in theirs(timings) else ours_found).any():
            found.append("no tracks were found in any event")
        if found:
            reasons[cell] = found
    return reasons


def tracks_identical(timings: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    """Whether every event of a cell's option gave the reference's labels.

    Returns:
        Booleans indexed by (option, concurrency). False where a hash differs or is missing,
        and where no sample succeeded: nothing was shown to be identical.

    Raises:
        TimingsError: an event that was measured has no row in the reference.
    """
    totals = total_rows(timings[timings.arm == OPTION])
    ok = totals.status == "ok"
    by = [totals[key] for key in CELL]
    agrees = (~ok | _labels_agree(totals, reference)).groupby(by).all()
    return agrees & ok.groupby(by).any()


def theirs(timings: pd.DataFrame) -> set[str]:
    """The options that send to somebody else's model."""
    return set(timings.option[timings.stage == MODEL])


def same_tracks(timings: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    """The share of a cell's events in which the option gave the reference's labels, each time.

    Returns:
        Indexed by (option, concurrency); NaN where no sample succeeded.
    """
    totals = total_rows(timings[timings.arm == OPTION])
    agrees = _labels_agree(totals, reference).where(totals.status == "ok").astype(float)
    by_event = agrees.groupby([totals[key] for key in (*CELL, "event")]).min()
    return by_event.groupby(CELL).mean()


def changing_answers(timings: pd.DataFrame) -> dict[Cell, str]:
    """Where somebody else's model did not give the tracks that it gave to the same event at first.

    Of all loads and rounds together the first answer is what the others are compared with.
    """
    totals = total_rows(timings[timings.option.isin(theirs(timings)) & (timings.arm == OPTION)])
    totals = totals[totals.status == "ok"].sort_values(["round", "start_ns"])
    first = totals.groupby(["option", "event"]).labels_sha256.transform("first")
    totals = totals.assign(differs=totals.labels_sha256 != first)
    found = {}
    for cell, samples in totals.groupby(CELL):
        differ = samples[samples.differs].event.nunique()
        if differ:
            found[cell] = (
                f"the model gave other tracks than at first to {differ} of "
                f"{samples.event.nunique()} events"
            )
    return found


def _found_tracks(samples: pd.DataFrame) -> pd.Series:
    """Whether there are tracks in each answer to the option."""
    answers = samples[(samples.arm == OPTION) & (samples.status == "ok")]
    nothing = {n: hash_labels(np.full(n, -1)) for n in answers.n_space_points.unique()}
    return answers.labels_sha256 != answers.n_space_points.map(nothing)


def _labels_agree(timings: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    totals = total_rows(timings)
    expected = totals.event.map(reference.set_index("event").labels_sha256)
    if expected.isna().any():
        row = totals[expected.isna()].iloc[0]
        raise TimingsError(
            f"reference: column 'event': no row for event {row.event} ({row.option})"
        )
    return totals.labels_sha256 == expected


def _cells(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[CELL])


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
