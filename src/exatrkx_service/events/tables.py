"""Read the CSV tables of an event, without guessing at what a damaged or foreign file may mean."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.layouts import found_columns, kind_of


class EventFormatError(ValueError):
    """A file of an event is missing or does not hold what ACTS writes."""


def read_table(path: Path, kind: str, columns: Mapping[str, type]) -> pd.DataFrame:
    """Some columns of a CSV file, in any order and among others, with exactly the given types.

    A row ends in LF or CRLF, the last one as well: a file that ends without was cut off, and the
    readers of ACTS leave out such a row without a word. No value may be missing; there are no
    quotes and no comments. So each part of a file, from its beginning on, is refused, or is a
    table of its own with the first rows of the whole one.

    Args:
        path: the file.
        kind: which of ``files.EVENT_FILES`` it is; a file of another kind is refused, even if it
            has the columns.
        columns: name and type: uint64, int64, float64 (finite) or str.

    Raises:
        EventFormatError: the file is missing or malformed, or looks like another kind.
    """
    header, *lines = _lines(path)
    names = header.split(",")
    for name in columns:
        if names.count(name) != 1:
            raise EventFormatError(
                f"{path}: column {name}: found {names.count(name)} times, expected once; "
                f"{found_columns(names, name)}"
            )
    if kind_of(names) not in (None, kind):
        raise EventFormatError(f"{path}: {found_columns(names)}; expected those of {kind}")
    rows = [line.split(",") for line in lines]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise EventFormatError(
                f"{path}: line {number}: {len(row)} values, expected {len(names)}, as in the header"
            )
    table = {}
    for name, type_ in columns.items():
        place = names.index(name)
        table[name] = _convert(path, name, [row[place] for row in rows], type_)
    return pd.DataFrame(table)


def require(path: Path, columns: str, good: np.ndarray, expected: str, table: pd.DataFrame) -> None:
    """Raises for the first row of a table that is not good.

    Args:
        path: the file.
        columns: names, separated by commas: the error gives the values of these.
        good: bool (rows,).
        expected: what a good row has.
        table: the file's rows; line 1 of the file is its header.

    Raises:
        EventFormatError: a row is not good.
    """
    if not good.all():
        row = int(np.argmin(good))
        values = (table[name].iloc[row] for name in columns.split(","))
        found = ", ".join(repr(v) if isinstance(v, str) else str(v) for v in values)
        raise EventFormatError(
            f"{path}: line {row + 2}, column {columns}: {found}, expected {expected}"
        )


def _lines(path: Path) -> list[str]:
    """Lines of a file without their ends; one at least."""
    if not path.is_file():
        raise EventFormatError(f"{path}: no such file")
    data = path.read_bytes()
    if not data:
        raise EventFormatError(f"{path}: empty file, expected a header")
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
    *lines, rest = text.split("\n")
    if rest:
        raise EventFormatError(
            f"{path}: line {len(lines) + 1}: the file ends without a newline, expected one at the "
            "end of each row; it may have been cut off"
        )
    return lines


def _convert(path: Path, name: str, values: list[str], type_: type) -> np.ndarray:
    """Turns a column of text into its type, integers without a detour over floats."""
    if type_ is str:
        return np.array(values, dtype=object)
    integer = type_ is not np.float64
    parse = int if integer else float
    limits = np.iinfo(type_) if integer else np.finfo(type_)
    low, high = parse(limits.min), parse(limits.max)  # outside: overflow, a sign, inf or NaN
    numbers = []
    for number, value in enumerate(values, start=2):
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
