"""Read the CSV tables of an event, without guessing at what a damaged or foreign file may mean."""

from __future__ import annotations

import gzip
import reprlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from exatrkx_service.events.layouts import found_columns, kind_of

GZIP = b"\x1f\x8b"


class EventFormatError(ValueError):
    """A file of an event is missing or does not hold what its format says."""


def read_table(path: Path, kind: str | None, *layouts: Mapping[str, type]) -> pd.DataFrame:
    """Some columns of a CSV file, in any order and among others, with exactly the given types.

    A row ends in LF or CRLF, the last one as well: a file that ends without was cut off, and the
    readers of ACTS leave out such a row without a word. No value may be missing; there are no
    quotes and no comments. So each part of a file, from its beginning on, is refused, or is a
    table of its own with the first rows of the whole one.

    Args:
        path: the file, plain or gzip.
        kind: which kind of file it is (``layouts.Layout.kind``); a file of another kind is refused,
            even if it has the columns. None: it has no kind of its own.
        layouts: columns to read, name and type: uint64, int64, float64 (finite) or str. Of several
            the first counts of which the file has all columns.

    Raises:
        EventFormatError: the file is missing or malformed, or looks like another kind.
    """
    text = read_text(path)
    header, _, body = text.partition("\n")
    names = header.split(",")
    # Where none fits, the message is about the one that is nearest.
    columns = max(layouts, key=lambda each: (each.keys() <= set(names), len(each.keys() & names)))
    for name in columns:
        if names.count(name) != 1:
            raise EventFormatError(
                f"{path}: column {name}: found {names.count(name)} times, expected once; "
                f"{found_columns(names, name)}"
            )
    if kind is not None and kind_of(names) not in (None, kind):
        raise EventFormatError(f"{path}: {found_columns(names)}; expected those of {kind}")
    return parse_rows(path, body, names, columns, first_line=2)


def parse_rows(
    path: Path, body: str, names: Sequence[str], columns: Mapping[str, type], first_line: int
) -> pd.DataFrame:
    """The rows of a CSV file, see ``read_table``.

    Args:
        path: the file, for messages.
        body: its lines without the header, each with its end.
        names: of all columns in the file.
        columns: name and type of those that are wanted.
        first_line: number of the first of these lines in the file.

    Raises:
        EventFormatError: names the line and the column of what is malformed.
    """
    table = _parse_fast(body, names, columns)
    if table is not None:
        return table
    # Line by line: several times as long, and it knows where.
    rows = [line.split(",") for line in body.split("\n")[:-1]]
    for number, row in enumerate(rows, start=first_line):
        if len(row) != len(names):
            raise EventFormatError(
                f"{path}: line {number}: {len(row)} values, expected {len(names)}, as in "
                + ("the header" if first_line > 1 else "line 1")
            )
    parsed = {}
    for name, type_ in columns.items():
        place = names.index(name)
        parsed[name] = _convert(path, name, [row[place] for row in rows], type_, first_line)
    return pd.DataFrame(parsed)


def _parse_fast(
    body: str, names: Sequence[str], columns: Mapping[str, type]
) -> pd.DataFrame | None:
    """The rows, or None where something in them is not as it must be."""
    if "0x" in body or "0X" in body:  # pyarrow takes 0x10 for the integer 16
        return None
    types = {
        name: pa.string() if t is str else pa.from_numpy_dtype(t) for name, t in columns.items()
    }
    try:
        table = csv.read_csv(
            pa.BufferReader(body.encode()),
            csv.ReadOptions(column_names=list(names), use_threads=False),
            csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, include_columns=list(columns), null_values=[]),
        )
    except pa.ArrowException:
        return None
    arrays = {name: table[name].to_numpy() for name in columns}
    floats = (values for name, values in arrays.items() if columns[name] is np.float64)
    return pd.DataFrame(arrays) if all(np.isfinite(values).all() for values in floats) else None


def require(
    path: Path,
    columns: str,
    good: np.ndarray,
    expected: str,
    table: pd.DataFrame,
    first_line: int = 2,
) -> None:
    """Raises for the first row of a table that is not good.

    Args:
        path: the file.
        columns: names, separated by commas: the error gives the values of these.
        good: bool (rows,).
        expected: what a good row has.
        table: the file's rows.
        first_line: number of the line of the first row; 2 where line 1 is a header.

    Raises:
        EventFormatError: a row is not good.
    """
    if not good.all():
        row = int(np.argmin(good))
        values = (table[name].iloc[row] for name in columns.split(","))
        found = ", ".join(repr(v) if isinstance(v, str) else str(v) for v in values)
        raise EventFormatError(
            f"{path}: line {row + first_line}, column {columns}: {found}, expected {expected}"
        )


def read_text(path: Path, start: str = "a header") -> str:
    """The text of a file, plain or gzip, with LF at the end of each line; not empty.

    Args:
        path: the file.
        start: what it has to begin with, for messages.

    Raises:
        EventFormatError: it is missing, can't be read, was cut off or is no such text.
    """
    if not path.exists():
        raise EventFormatError(f"{path}: no such file")
    if not (path.is_file() or path.is_dir()):  # reading a pipe or a device may never end
        raise EventFormatError(f"{path}: a pipe or a device, expected a CSV file")
    try:
        data = path.read_bytes()
        if data.startswith(GZIP):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:  # of gzip as well
        why = getattr(error, "strerror", None) or error
        raise EventFormatError(f"{path}: can't be read ({why}), expected a CSV file") from None
    if not data:
        raise EventFormatError(f"{path}: empty file, expected {start}")
    if data.startswith(b"\xef\xbb\xbf"):
        raise EventFormatError(
            f"{path}: line 1: a byte-order mark (UTF-8), expected the first column's name"
        )
    data = data.replace(b"\r\n", b"\n")
    # NUL: zeros are what a file system may leave of a file that was being written.
    bad = [place for byte in (b"\r", b"\0") if (place := data.find(byte)) >= 0]
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        bad.append(error.start)
    if bad:
        place = min(bad)
        line = data.count(b"\n", 0, place) + 1
        raise EventFormatError(
            f"{path}: line {line}: the byte {data[place]:#04x}, "
            "expected lines of ASCII text that end in LF or CRLF"
        )
    if not text.endswith("\n"):
        lines = text.count("\n") + 1
        raise EventFormatError(
            f"{path}: line {lines}: the file ends without a newline, expected one at the end of "
            "each row; it may have been cut off"
        )
    return text


def _convert(path: Path, name: str, values: list[str], type_: type, first_line: int) -> np.ndarray:
    """Turns a column of text into its type, integers without a detour over floats."""
    if type_ is str:
        return np.array(values, dtype=object)
    integer = type_ is not np.float64
    parse = int if integer else float
    limits = np.iinfo(type_) if integer else np.finfo(type_)
    low, high = parse(limits.min), parse(limits.max)  # outside: overflow, a sign, inf or NaN
    numbers = []
    for number, value in enumerate(values, start=first_line):
        try:
            parsed = parse(value)
            if not low <= parsed <= high or "_" in value:  # Python reads 1_0 as 10
                raise ValueError
        except ValueError:
            expected = f"an integer ({type_.__name__})" if integer else "a finite number"
            raise EventFormatError(
                f"{path}: line {number}, column {name}: {reprlib.repr(value)}, expected {expected}"
            ) from None
        numbers.append(parsed)
    return np.array(numbers, dtype=type_)
