"""The raw data of a benchmark, samples and blocks: their columns, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from exatrkx_service.options import MODEL, STAGES

# In the order of time.
PARTS = (
    *("serialise", "send", "accept", "queue", "compute_input", "hand_over", "convert"),
    *("compute", "compute_infer", "hand_back", "compute_output", "between_steps", "answer"),
    *("receive", "request", "deserialise", "unattributed"),
)
COMPUTE_PARTS = ("compute", "compute_infer")
# Stage of what is of a whole event: its wall time, and what of it is in no other part.
EVENT, TOTAL, UNATTRIBUTED = "event", "total", "unattributed"
ENSEMBLE, PIPELINE = "ensemble", "pipeline"  # stages of the one request of S4 and of S5
OPTION, CONTROL = ARMS = ("option", "control")
BASELINE = "S0"  # the control of every option; its own job measures it against itself

CELL = ["option", "concurrency"]
BLOCK = ["option", "round", "concurrency", "block"]  # names one block
SAMPLE = [*BLOCK[:3], "arm", "block", "repetition", "event"]  # names one sample
COLUMNS = [
    *(*SAMPLE, "client", "stage", "part", "start_ns", "duration_ns"),
    *("n_space_points", "n_edges_built", "n_edges_filtered"),
    *("status", "error", "labels_sha256"),
]
BLOCK_COLUMNS = [
    *(*BLOCK, "arm", "start_ns", "window_s", "n_in_window", "n_done", "n_failed"),
    *("client_cpu_ms", "server_cpu_ms", "others", "steal", "throttled"),
    *("switches_per_s", "mhz", "disturbed"),
]
REFERENCE_COLUMNS = [
    *("event", "n_space_points", "n_edges_built", "n_edges_filtered", "n_tracks", "labels_sha256")
]
NS_PER_MS = 1e6
_TEXT = ("option", "arm", "stage", "part", "status", "error", "labels_sha256", "disturbed")
_FLOATS = BLOCK_COLUMNS[BLOCK_COLUMNS.index("client_cpu_ms") : -1]
_MAY_BE_UNKNOWN = _FLOATS[1:]  # the kernel, or the server's machine, may not tell
_KNOWN = {
    "arm": set(ARMS),
    "status": {"ok", "failed", "rejected"},
    "stage": {*STAGES, EVENT, ENSEMBLE, PIPELINE, MODEL},
    "part": {*PARTS, TOTAL},
}


class TimingsError(ValueError):
    """Measured data that can't be analysed; the message names the file and the column."""


def read_timings(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read and check the sample files of a benchmark.

    Args:
        paths: Parquet files, one per option and round.

    Returns:
        All rows in one frame with the columns ``COLUMNS``.

    Raises:
        TimingsError: a file can't be read, or its content is not as the columns promise.
    """
    return _read_all(paths, check_timings, COLUMNS, "samples")


def read_blocks(paths: Iterable[Path | str]) -> pd.DataFrame:
    """Read and check the files of the blocks of a benchmark, as ``read_timings`` the samples.

    Returns:
        All rows in one frame with the columns ``BLOCK_COLUMNS``.

    Raises:
        TimingsError: a file can't be read, or its content is not as the columns promise.
    """
    return _read_all(paths, check_blocks, BLOCK_COLUMNS, "blocks")


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
        TimingsError: a column is missing, empty or of the wrong type; there are no rows; an arm,
            status, stage or part is unknown; a duration is negative (that of what is unattributed
            may be, see ``checks.check_parts``); a row occurs twice; a sample has parts and no
            total.
    """
    _check_columns(timings, COLUMNS, source)
    negative = timings[(timings.duration_ns < 0) & (timings.part != UNATTRIBUTED)]
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
    of_event = timings.part.isin([TOTAL, UNATTRIBUTED])
    mixed = timings[of_event != (timings.stage == EVENT)]
    if len(mixed):
        row = mixed.iloc[0]
        raise TimingsError(
            f"{source}: {_name(row)}: row {row.stage}/{row.part}; the parts '{TOTAL}' and "
            f"'{UNATTRIBUTED}' belong to the stage '{EVENT}' and to no other"
        )
    is_total = timings.part == TOTAL
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


def check_blocks(blocks: pd.DataFrame, source: str) -> None:
    """Raise unless the frame holds well-formed blocks.

    Args:
        blocks: rows with the columns ``BLOCK_COLUMNS``.
        source: name of the file, for the message.

    Raises:
        TimingsError: a column is missing, empty or of the wrong type; there are no rows; an arm is
            unknown; a number is negative; a row occurs twice.
    """
    _check_columns(blocks, BLOCK_COLUMNS, source)
    for column in ("window_s", "n_in_window", "n_done", "n_failed", *_FLOATS):
        negative = blocks[blocks[column] < 0]
        if len(negative):
            row = negative.iloc[0]
            raise TimingsError(
                f"{source}: column '{column}': {row[column]} is negative ({_name_block(row)})"
            )
    twice = blocks[blocks.duplicated([*BLOCK, "arm"])]
    if len(twice):
        raise TimingsError(f"{source}: {_name_block(twice.iloc[0])} occurs twice")


def check_reference(reference: pd.DataFrame, source: str) -> None:
    """Raise ``TimingsError`` unless the frame has one row per event with its labels' hash."""
    _require_columns(reference, REFERENCE_COLUMNS, source)
    twice = reference.event[reference.event.duplicated()]
    if len(twice):
        raise TimingsError(f"{source}: column 'event': event {twice.iloc[0]} occurs twice")
    without = reference.event[reference.labels_sha256.fillna("") == ""]
    if len(without):
        raise TimingsError(f"{source}: column 'labels_sha256': event {without.iloc[0]} has none")


def check_together(timings: pd.DataFrame, blocks: pd.DataFrame) -> None:
    """Raise ``TimingsError`` unless each sample is of a block that there is."""
    keys = [*BLOCK, "arm"]
    lost = timings[~_key(timings, keys).isin(_key(blocks, keys))]
    if len(lost):
        raise TimingsError(f"blocks: no row of {_name_block(lost.iloc[0])}, which has samples")


def kept_blocks(blocks: pd.DataFrame, min_blocks: int) -> pd.DataFrame:
    """The blocks that count: the undisturbed ones, or all where those are too few.

    What disturbs is seen on the machine, never in the times, so nothing is chosen by its result.

    Args:
        blocks: see ``BLOCK_COLUMNS``.
        min_blocks: undisturbed blocks that an option needs under a load in a round.

    Returns:
        Rows of ``blocks``, both arms of each block.
    """
    quiet = (blocks.disturbed == "").groupby([blocks[key] for key in BLOCK]).transform("all")
    number = blocks.block.where(quiet).groupby([blocks[key] for key in BLOCK[:3]])
    return blocks[quiet | (number.transform("nunique") < min_blocks)]


def in_blocks(timings: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """The samples of some blocks, of both arms."""
    return timings[_key(timings, BLOCK).isin(_key(blocks, BLOCK))]


def total_rows(timings: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold an event's wall time: one per sample, failed ones included."""
    return timings[(timings.stage == EVENT) & (timings.part == TOTAL)]


def part_rows(timings: pd.DataFrame) -> pd.DataFrame:
    """The parts that have a name, of the samples that did not fail."""
    return timings[~timings.part.isin([TOTAL, UNATTRIBUTED]) & (timings.status == "ok")]


def _key(frame: pd.DataFrame, columns: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[columns])


def _read_all(
    paths: Iterable[Path | str],
    check: Callable[[pd.DataFrame, str], None],
    columns: Sequence[str],
    what: str,
) -> pd.DataFrame:
    frames = []
    for path in paths:
        frame = _read_parquet(Path(path))
        check(frame, str(path))
        frames.append(frame[columns])
    if not frames:
        raise TimingsError(f"{what}: no file given; expected at least one Parquet file of {what}")
    table = pd.concat(frames, ignore_index=True)
    check(table, f"all {what} together")
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise TimingsError(f"{path}: not a readable Parquet file: {error}") from error


def _check_columns(frame: pd.DataFrame, columns: Sequence[str], source: str) -> None:
    _require_columns(frame, columns, source)
    for column in columns:
        if column in _MAY_BE_UNKNOWN and is_numeric_dtype(frame[column]):
            continue
        missing = int(frame[column].isna().sum())
        if missing:
            raise TimingsError(f"{source}: column '{column}': {missing} rows have no value")
        numbers = column in (*_FLOATS, "window_s", "n_in_window")
        fits = (is_numeric_dtype if numbers else is_integer_dtype)(frame[column])
        if column not in _TEXT and not fits:
            raise TimingsError(
                f"{source}: column '{column}': expected {'numbers' if numbers else 'integers'}, "
                f"found {frame[column].dtype}"
            )
    for column, known in _KNOWN.items():
        unknown = sorted(set(frame[column].unique()) - known) if column in columns else ()
        if unknown:
            raise TimingsError(
                f"{source}: column '{column}': unknown value '{unknown[0]}', "
                f"expected one of {', '.join(sorted(known))}"
            )


def _require_columns(frame: pd.DataFrame, columns: Sequence[str], source: str) -> None:
    for column in columns:
        if column not in frame:
            raise TimingsError(f"{source}: column '{column}' is missing")
    if frame.empty:
        raise TimingsError(f"{source}: no rows")


def _name(row: pd.Series) -> str:
    return f"{_name_block(row)}, repetition {row.repetition}, event {row.event}"


def _name_block(row: pd.Series) -> str:
    return (
        f"option {row.option}, round {row['round']}, concurrency {row.concurrency}, "
        f"block {row.block}, arm {row.arm}"
    )
