"""The raw samples of a benchmark: their columns, how they are read, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from pandas.api.types import is_integer_dtype

from exatrkx_service.options import STAGES

PARTS = (
    "serialise",
    "request",
    "transfer",
    "queue",
    "compute_input",
    "compute",
    "compute_infer",
    "backend",
    "compute_output",
    "server_other",
    "deserialise",
)
COMPUTE_PARTS = ("compute", "compute_infer")
EVENT, TOTAL = "event", "total"  # stage and part of the row that holds an event's wall time
ENSEMBLE, PIPELINE = "ensemble", "pipeline"  # stages of the one request of S4 and of S5

SAMPLE = ["option", "round", "concurrency", "repetition", "event"]  # names one sample
COLUMNS = [
    *SAMPLE,
    "client",
    "stage",
    "part",
    "start_ns",
    "duration_ns",
    "n_space_points",
    "n_edges_built",
    "n_edges_filtered",
    "status",
    "error",
    "labels_sha256",
]
REFERENCE_COLUMNS = [
    "event",
    "n_space_points",
    "n_edges_built",
    "n_edges_filtered",
    "n_tracks",
    "labels_sha256",
]
NS_PER_MS = 1e6
_TEXT = ("option", "stage", "part", "status", "error", "labels_sha256")
_KNOWN = {
    "status": {"ok", "failed"},
    "stage": {*STAGES, EVENT, ENSEMBLE, PIPELINE},
    "part": {*PARTS, TOTAL},
}


class TimingsError(ValueError):
    """Samples that can't be analysed; the message names the file and the column."""


def read_timings(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read and check the sample files of a benchmark.

    Args:
        paths: Parquet files, one per option and round.

    Returns:
        All rows in one frame with the columns ``COLUMNS``.

    Raises:
        TimingsError: a file can't be read, or its content is not as the columns promise.
    """
    frames = []
    for path in paths:
        frame = _read_parquet(Path(path))
        check_timings(frame, str(path))
        frames.append(frame[COLUMNS])
    if not frames:
        raise TimingsError("timings: no file given; expected at least one Parquet file of samples")
    timings = pd.concat(frames, ignore_index=True)
    check_timings(timings, "all timings together")
    return timings


def read_reference(path: Path | str) -> pd.DataFrame:
    """Read and check the reference: per event its sizes and the labels every option must give.

    Raises:
        TimingsError: the file can't be read, lacks a column, or lists an event twice.
    """
    reference = _read_parquet(Path(path))
    check_reference(reference, str(path))
    return reference


def check_timings(timings: pd.DataFrame, source: str) -> None:
    """Raise unless the frame holds well-formed samples.

    Args:
        timings: rows with the columns ``COLUMNS``.
        source: name of the file, for the message.

    Raises:
        TimingsError: a column is missing, empty or of the wrong type; there are no rows; a
            status, stage or part is unknown; a duration is negative; a row occurs twice; a
            sample has parts and no total.
    """
    _require_columns(timings, COLUMNS, source)
    for column in COLUMNS:
        missing = int(timings[column].isna().sum())
        if missing:
            raise TimingsError(f"{source}: column '{column}': {missing} rows have no value")
        if column not in _TEXT and not is_integer_dtype(timings[column]):
            raise TimingsError(
                f"{source}: column '{column}': expected integers, found {timings[column].dtype}"
            )
    for column, known in _KNOWN.items():
        unknown = sorted(set(timings[column].unique()) - known)
        if unknown:
            raise TimingsError(
                f"{source}: column '{column}': unknown value '{unknown[0]}', "
                f"expected one of {', '.join(sorted(known))}"
            )
    negative = timings[timings.duration_ns < 0]
    if len(negative):
        row = negative.iloc[0]
        raise TimingsError(
            f"{source}: column 'duration_ns': {row.duration_ns} is negative "
            f"({_name(row)}, {row.stage}/{row.part})"
        )
    twice = timings[timings.duplicated([*SAMPLE, "stage", "part"])]
    if len(twice):
        row = twice.iloc[0]
        raise TimingsError(f"{source}: {_name(row)}: the row {row.stage}/{row.part} occurs twice")
    is_total = (timings.stage == EVENT) & (timings.part == TOTAL)
    mixed = timings[~is_total & ((timings.stage == EVENT) | (timings.part == TOTAL))]
    if len(mixed):
        row = mixed.iloc[0]
        raise TimingsError(
            f"{source}: {_name(row)}: row {row.stage}/{row.part}; the part '{TOTAL}' belongs to "
            f"the stage '{EVENT}' and to no other"
        )
    samples = timings[SAMPLE].drop_duplicates()
    with_total = timings.loc[is_total, SAMPLE]
    if len(samples) != len(with_total):
        without = samples.merge(with_total, how="left", indicator=True)
        row = without[without._merge == "left_only"].iloc[0]
        raise TimingsError(f"{source}: {_name(row)}: parts without a row {EVENT}/{TOTAL}")
    empty = timings[is_total & (timings.status == "ok") & (timings.duration_ns == 0)]
    if len(empty):
        raise TimingsError(
            f"{source}: column 'duration_ns': the total is 0 ({_name(empty.iloc[0])})"
        )


def check_reference(reference: pd.DataFrame, source: str) -> None:
    """Raise ``TimingsError`` unless the frame has one row per event with its labels' hash."""
    _require_columns(reference, REFERENCE_COLUMNS, source)
    twice = reference.event[reference.event.duplicated()]
    if len(twice):
        raise TimingsError(f"{source}: column 'event': event {twice.iloc[0]} occurs twice")
    without = reference.event[reference.labels_sha256.fillna("") == ""]
    if len(without):
        raise TimingsError(f"{source}: column 'labels_sha256': event {without.iloc[0]} has none")


def total_rows(timings: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold an event's wall time: one per sample, failed ones included."""
    return timings[(timings.stage == EVENT) & (timings.part == TOTAL)]


def part_rows(timings: pd.DataFrame) -> pd.DataFrame:
    """The rows that add up to the totals, of the samples that did not fail."""
    return timings[(timings.part != TOTAL) & (timings.status == "ok")]


def comparable(timings: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """The samples of the valid (option, concurrency) pairs, see ``invalid_cells``.

    Raises:
        TimingsError: an event that was measured has no row in the reference.
    """
    invalid = invalid_cells(timings, reference)
    cells = pd.MultiIndex.from_frame(timings[["option", "concurrency"]])
    return timings[~cells.isin(list(invalid))]


def invalid_cells(
    timings: pd.DataFrame, reference: pd.DataFrame
) -> dict[tuple[str, int], list[str]]:
    """The (option, concurrency) pairs whose times are not those of the option, and why.

    With one request that failed, or one event with other tracks, the times of the others are those
    of a lesser load, or of another computation: they are not averaged. Where no event has a track
    nothing was found, however fast.

    Raises:
        TimingsError: an event that was measured has no row in the reference.
    """
    identical = tracks_identical(timings, reference)
    reasons: dict[tuple[str, int], list[str]] = {}
    for cell, samples in total_rows(timings).groupby(["option", "concurrency"]):
        failed = samples[samples.status == "failed"]
        found = []
        if len(failed):
            often = failed.error.mode().iloc[0]
            found.append(f"{len(failed)} of {len(samples)} requests failed, most often: {often}")
        if not identical[cell] and len(failed) < len(samples):
            found.append("other tracks than the reference")
        if not (reference.n_tracks > 0).any():
            found.append("no tracks were found in any event")
        if found:
            reasons[cell] = found
    return reasons


def tracks_identical(timings: pd.DataFrame, reference: pd.DataFrame) -> pd.Series:
    """Whether every event of an (option, concurrency) pair gave the reference's labels.

    Returns:
        Booleans indexed by (option, concurrency). False where a hash differs or is missing,
        and where no sample succeeded: nothing was shown to be identical.

    Raises:
        TimingsError: an event that was measured has no row in the reference.
    """
    totals = total_rows(timings)
    expected = totals.event.map(reference.set_index("event").labels_sha256)
    if expected.isna().any():
        row = totals[expected.isna()].iloc[0]
        raise TimingsError(
            f"reference: column 'event': no row for event {row.event} ({row.option})"
        )
    ok = totals.status == "ok"
    by = [totals.option, totals.concurrency]
    agrees = (~ok | (totals.labels_sha256 == expected)).groupby(by).all()
    return agrees & ok.groupby(by).any()


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise TimingsError(f"{path}: not a readable Parquet file: {error}") from error


def _require_columns(frame: pd.DataFrame, columns: list[str], source: str) -> None:
    for column in columns:
        if column not in frame:
            raise TimingsError(f"{source}: column '{column}' is missing")
    if frame.empty:
        raise TimingsError(f"{source}: no rows")


def _name(row: pd.Series) -> str:
    return (
        f"option {row.option}, round {row['round']}, concurrency {row.concurrency}, "
        f"repetition {row.repetition}, event {row.event}"
    )
