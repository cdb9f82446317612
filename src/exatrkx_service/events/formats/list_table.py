"""Tables in parquet files with one event a row, whose columns are lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from exatrkx_service.events.layouts import found_columns
from exatrkx_service.events.tables import EventFormatError

# Which types in a file do for a column of this type; a float for an id has lost digits.
_STORED = {
    np.uint64: (pa.types.is_integer, "integers"),
    np.int64: (pa.types.is_signed_integer, "signed integers"),
    np.float64: (lambda type_: pa.types.is_floating(type_) or pa.types.is_integer(type_), "floats"),
}


class _Place(NamedTuple):
    """Where an event is."""

    path: Path
    group: int  # of rows
    row: int  # in the group


class ListTable:
    """One table in some files, by the column ``event_id`` of each, which is read at once.

    Args:
        paths: the files.

    Attributes:
        events: the file of each event, in ascending order.

    Raises:
        EventFormatError: a file can't be read, has no such column, or an event is there twice.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        places: dict[int, _Place] = {}
        for path in paths:
            for event, place in _places(path):
                if event in places:
                    raise EventFormatError(
                        f"{path}: event {event} is in {places[event].path} as well; "
                        "expected each event once"
                    )
                places[event] = place
        self._places = places
        self.events = {event: places[event].path for event in sorted(places)}
        # The group that was read last: the published files have one of hundreds of events each.
        self._group: tuple[Path, int, tuple[str, ...]] | None = None
        self._rows: pa.Table | None = None

    def read(self, event: int, columns: Mapping[str, type]) -> tuple[str, dict[str, np.ndarray]]:
        """The lists of an event.

        Args:
            event: one of ``events``.
            columns: name and type: uint64, int64 or float64. Negative numbers become uint64
                modulo 2^64; floats need not be finite.

        Returns:
            The file and the event, for messages; and the values of each list.

        Raises:
            EventFormatError: a column or value is missing or of another type, or the lists are
                of different lengths.
        """
        path, group, row = self._places[event]
        where = f"{path}: event {event}"
        if self._group != (path, group, tuple(columns)):
            with _opened(path, columns) as file:
                self._rows = file.read_row_group(group, columns=list(columns)).combine_chunks()
            self._group = path, group, tuple(columns)
        lists = {}
        for name, type_ in columns.items():
            values = self._rows[name][row].values
            if values is None or values.null_count:
                raise EventFormatError(f"{where}, column {name}: a null, expected a list of values")
            lists[name] = values.to_numpy(zero_copy_only=False).astype(type_, copy=False)
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            raise EventFormatError(f"{where}: lists of different lengths: {lengths}")
        return where, lists


def require_values(
    where: str, columns: str, good: np.ndarray, expected: str, lists: Mapping[str, np.ndarray]
) -> None:
    """Raises for the first value that is not good of what ``ListTable.read`` gave.

    Args:
        where: the file and the event.
        columns: names, separated by commas: the error gives the values of these.
        good: bool, one per value of the lists.
        expected: what a good one is.
        lists: their values.

    Raises:
        EventFormatError: a value is not good.
    """
    if not good.all():
        row = int(np.argmin(good))
        found = ", ".join(str(lists[name][row]) for name in columns.split(","))
        raise EventFormatError(
            f"{where}, column {columns}, place {row} of the list: {found}, expected {expected}"
        )


def _places(path: Path) -> Iterator[tuple[int, _Place]]:
    """Each event of a file, and where it is."""
    with _opened(path, {}) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["event_id"])["event_id"]
            for row, event in enumerate(ids.to_pylist()):
                if event is None or event < 0:
                    raise EventFormatError(
                        f"{path}: column event_id: {event}, expected an integer from 0 on"
                    )
                yield event, _Place(path, group, row)


@contextmanager
def _opened(path: Path, columns: Mapping[str, type]) -> Iterator[parquet.ParquetFile]:
    """A parquet file with the column event_id and lists of these types; refuses others."""
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            _require_columns(path, file.schema_arrow, columns)
            yield file
    except EventFormatError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise EventFormatError(
            f"{path}: can't be read ({why}), expected a parquet file that is whole"
        ) from None


def _require_columns(path: Path, schema: pa.Schema, columns: Mapping[str, type]) -> None:
    for name in ("event_id", *columns):
        count = schema.names.count(name)
        if count != 1:
            raise EventFormatError(
                f"{path}: column {name}: found {count} times, expected once; "
                f"{found_columns(schema.names, name)}"
            )
        found = schema.field(name).type
        if name == "event_id":
            good, expected = pa.types.is_integer(found), "integers"
        else:
            stored, what = _STORED[columns[name]]
            is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
            good, expected = is_list and stored(found.value_type), f"lists of {what}"
        if not good:
            raise EventFormatError(
                f"{path}: column {name}: of the type {found}, expected {expected}"
            )
