"""Events as the networks take them: files of scaled space points without a header."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import Event
from exatrkx_service.events.formats.base import (
    Format,
    list_files,
    require_event,
    require_file,
    shown_files,
)
from exatrkx_service.events.layouts import found_columns, is_number
from exatrkx_service.events.tables import EventFormatError, parse_rows, read_text, require
from exatrkx_service.events.units import require_millimetres

SCALES = (1000.0, float(np.pi), 1000.0)  # what a 1 in the file is: r [mm], phi [rad], z [mm]
PHI_ROUNDING = 1e-6  # of pi: numbers written with seven digits may be that much above it
_NAMES = ("r", "phi", "z")
_PI = np.float32(np.pi)


class Features(Format):
    """One space point a line: r, phi and z, each divided by a scale; further columns are ignored.

    The setting ``scales`` says what a 1 in the file is: r [mm], phi [rad], z [mm]. The first
    ``columns``, a setting too, are kept as they are if that is given. The separator
    is a comma, or white space, as in the first line. The events are the files in the order of
    their names, numbers in them by value, from 0 on. There is no truth. An angle beyond pi by no
    more than ``PHI_ROUNDING`` is taken for pi, and -pi as well.
    """

    @cached_property
    def _files(self) -> list[Path]:
        expected = "files *.csv, *.txt, *.csv.gz or *.txt.gz with one event each"
        files = [
            path
            for path in list_files(self.folder, expected)
            if re.search(r"\.(csv|txt)(\.gz)?$", path.name, re.IGNORECASE)
        ]
        for path in files:
            require_file(path)
        if not files:
            raise EventFormatError(
                f"{self.folder}: expected {expected}; found {shown_files(self.folder)}"
            )
        names = {path.name for path in files}
        for path in files:
            if path.suffix == ".gz" and path.stem in names:
                raise EventFormatError(
                    f"{path}: its event is in {path.stem} as well; expected each event once"
                )
        return sorted(files, key=_natural)

    def files(self) -> dict[int, tuple[Path, ...]]:
        """See ``Format.files``."""
        return {event: (path,) for event, path in enumerate(self._files)}

    def has_truth(self) -> bool:
        """Never."""
        return False

    def read(self, event: int) -> Event:
        """See ``Format.read``."""
        require_event(self.folder, event, range(len(self._files)))
        path = self._files[event]
        scales = [float(scale) for scale in self.settings.get("scales", SCALES)]
        scaled = f"scaled by events.features.scales {scales}"
        n_columns = self.settings.get("columns", 0)
        table = _read(path, n_columns)
        with np.errstate(over="ignore"):
            r, phi, z = table[[*_NAMES]].to_numpy().T * np.reshape(scales, (3, 1))
        require(path, "r", r >= 0, "a distance from the beam, not below 0", table, 1)
        good = np.abs(phi) <= np.pi * (1 + PHI_ROUNDING)
        require(path, "phi", good, f"an angle in (-pi, pi], {scaled}", table, 1)
        with np.errstate(over="ignore"):
            points = np.column_stack([r, phi, z]).astype(np.float32)
        for name, column in (("r", 0), ("z", 2)):
            good = np.isfinite(points[:, column])
            require(path, name, good, f"a position that fits into float32, {scaled}", table, 1)
        # Above pi is rounding; -pi is the direction of pi.
        points[np.abs(points[:, 1]) > _PI, 1] = _PI
        points[points[:, 1] == -_PI, 1] = _PI
        require_millimetres(path, points, f"columns r,phi,z, {scaled}")
        return Event.without_truth(event, points, _kept(path, table, n_columns))


def _kept(path: Path, table: pd.DataFrame, n_columns: int) -> np.ndarray | None:
    """Float32 (N, n_columns): the first columns as they are; None for none."""
    if not n_columns:
        return None
    with np.errstate(over="ignore"):
        kept = table.iloc[:, :n_columns].to_numpy().astype(np.float32)
    for place, name in enumerate(table.columns[:n_columns]):
        good = np.isfinite(kept[:, place])
        require(path, name, good, "a finite number that fits into float32", table, 1)
    return np.ascontiguousarray(kept)


def _read(path: Path, n_columns: int = 0) -> pd.DataFrame:
    """The first three columns, named r, phi and z; more of them where so many are wanted."""
    text = read_text(path, "one space point a line")
    first = text[: text.index("\n")]
    values = first.split("," if "," in first else None)
    if values and not any(map(is_number, values[:3])):
        raise EventFormatError(
            f"{path}: line 1: no numbers, that looks like a header; expected r, phi and z of the "
            f"first space point; {found_columns(values)}"
        )
    if values and list(map(str.strip, values)) == list(map(str, range(len(values)))):
        raise EventFormatError(
            f"{path}: line 1: {first}, that looks like the header that pandas writes by default; "
            "expected r, phi and z of the first space point"
        )
    if len(values) < len(_NAMES):
        raise EventFormatError(f"{path}: line 1: {len(values)} values, expected r, phi and z")
    if len(values) < n_columns:
        raise EventFormatError(
            f"{path}: line 1: {len(values)} values, expected {n_columns}, the columns that "
            "server.model.columns asks for"
        )
    if "," not in first:
        text = _with_commas(path, text)
    names = [*_NAMES, *(f"column {number}" for number in range(4, len(values) + 1))]
    wanted = dict.fromkeys(names[: max(len(_NAMES), n_columns)], np.float64)
    return parse_rows(path, text, names, wanted, first_line=1)


def _with_commas(path: Path, text: str) -> str:
    """Lines whose values are separated by white space, with commas instead; refuses commas."""
    comma = text.find(",")
    if comma >= 0:
        line = text.count("\n", 0, comma) + 1
        raise EventFormatError(f"{path}: line {line}: a comma, expected white space as in line 1")
    text = text.replace("\t", " ")
    while "  " in text:
        text = text.replace("  ", " ")
    text = text.replace("\n ", "\n").replace(" \n", "\n").removeprefix(" ")
    return text.replace(" ", ",")


def _natural(path: Path) -> tuple:
    """Sorts names with the numbers in them by value."""
    parts = re.split(r"(\d+)", path.name)
    numbers = [int(part) if place % 2 else part for place, part in enumerate(parts)]
    return numbers, path.name
