"""What a track finder gave on a sample, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_integer_dtype

from exatrkx_service.events.event import Event
from exatrkx_service.events.reader import read_event
from exatrkx_service.identity import INPUTS, SETTINGS, attributes_of, check_same, with_networks
from exatrkx_service.tracking.edges import EDGE_STAGES

COLUMNS = {
    "tracks": ["event", "track", "space_point"],
    "times": ["event", "step", "duration_ns"],
    "edges": ["event", "stage", "population", "n_edges", "n_true", "n_found"],
}
_KEYS = {
    "tracks": COLUMNS["tracks"],
    "times": ["event", "step"],
    "edges": ["event", "stage", "population"],
}
_TEXT = ("step", "stage", "population")


class MethodError(ValueError):
    """Results of a method that can't be used; the message names the file or method and why."""


@dataclass(frozen=True)
class Method:
    """The results of a track finder.

    Attributes:
        tracks: one row per space point on a track: event, track and space_point (row in
            ``Event.space_points``). Tracks may share space points.
        times: one row per event and step: event, step, duration_ns [ns]. All events are here,
            also those without tracks. Steps in the order in which they run. Empty for a method that
            was not timed.
        edges: see ``found_edges``; None for a method without a graph.
    """

    tracks: pd.DataFrame
    times: pd.DataFrame
    edges: pd.DataFrame | None = None

    def step_ms(self) -> dict[str, float]:
        """Mean time of each step per event [ms]."""
        return (self.times.groupby("step", sort=False).duration_ns.mean() / 1e6).to_dict()

    def write(
        self,
        files: Mapping[str, Path | str],
        inputs: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> None:
        """Writes the tables as Parquet files.

        Args:
            files: path of ``tracks``, ``times`` and, for a method with a graph, ``edges``.
            inputs: what they are results of, see ``identity.identify``.
            settings: of the method, so that no other's tracks are taken for its own.
        """
        for name, path in files.items():
            table = getattr(self, name).copy(deep=False)
            table.attrs = {INPUTS: dict(inputs), SETTINGS: dict(settings)}
            table.to_parquet(path, index=False)


def read_method(files: Mapping[str, Path | str]) -> Method:
    """Reads the results of a method.

    Args:
        files: Parquet file of each table: ``tracks``, ``times`` and maybe ``edges``.

    Raises:
        MethodError: a file can't be read, or does not hold what ``Method`` says.
    """
    return Method(**{name: _read(name, Path(path)) for name, path in files.items()})


def read_tracks(path: Path | str) -> pd.DataFrame:
    """Reads the tracks of a method; columns and errors as for ``read_method``."""
    return _read("tracks", Path(path))


def read_truth(events: Mapping[int, Path]) -> list[Event]:
    """Reads the events of a sample with their truth.

    Args:
        events: folder of each event by its number, see ``read_manifests``.

    Raises:
        EventFormatError: an event or its truth is missing or malformed.
    """
    return [read_event(folder, number) for number, folder in events.items()]


def check_origin(
    method: str,
    files: Mapping[str, Path | str],
    events: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Checks that the results of a method are of these events, settings and networks.

    Args:
        method: its name.
        files: as of ``read_method``.
        events: digest of the events, see ``identity.identify``.
        settings: of the method; those with ``weights`` name its networks.

    Raises:
        IdentityError: names the file and what differs.
    """
    networks = None
    if "weights" in settings:
        # Whatever computes them: that is compared where they are run.
        networks = with_networks({**settings, "kernels": "torch"})["networks"]
    for file in files.values():
        found = attributes_of(file)
        inputs = found.get(INPUTS, {})
        check_same(inputs, events, file, "the events")
        check_same(found.get(SETTINGS, {}), settings, file, f"the configuration of {method}")
        if networks is not None:
            check_same(inputs, {"networks": networks}, file, f"the files of {method}")


def check_events(method: str, results: Method, events: list[Event]) -> None:
    """Raises ``MethodError`` unless the results of a method are those of the events."""
    numbers = {event.event_id for event in events}
    for name in COLUMNS:
        table = getattr(results, name)
        if table is None:
            continue
        found = set(table["event"])
        if unknown := found - numbers:
            raise MethodError(
                f"method {method}: {name} of event {min(unknown)}, which is not in the sample"
            )
        untimed = name == "times" and table.empty
        if name != "tracks" and not untimed and (missing := numbers - found):
            raise MethodError(f"method {method}: no {name} of event {min(missing)}")


def _read(name: str, path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise MethodError(f"{path}: not a readable Parquet file: {error}") from error
    for column in COLUMNS[name]:
        if column not in table:
            raise MethodError(f"{path}: column '{column}' is missing")
        if column in _TEXT:
            continue
        if not is_integer_dtype(table[column]):
            raise MethodError(
                f"{path}: column '{column}': expected integers, found {table[column].dtype}"
            )
        if (table[column] < 0).any():
            raise MethodError(f"{path}: column '{column}': {table[column].min()} is negative")
    twice = table[table.duplicated(_KEYS[name])]
    if len(twice):
        row = ", ".join(f"{key} {twice.iloc[0][key]}" for key in _KEYS[name])
        raise MethodError(f"{path}: {row} occurs twice")
    if name == "edges" and (unknown := set(table["stage"]) - set(EDGE_STAGES)):
        raise MethodError(
            f"{path}: column 'stage': unknown value '{min(unknown)}', "
            f"expected one of {', '.join(EDGE_STAGES)}"
        )
    return table[COLUMNS[name]]
