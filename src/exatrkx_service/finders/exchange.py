"""The folders in which a track finder of one's own gets events, and gives tracks back.

It gets all that may be known of an event without its truth:

* ``events.csv``: event, n_space_points.
* ``space_points.csv``: event, space_point (row in the event, from 0), r [mm], phi [rad, in
  (-pi, pi]], z [mm].
* ``settings.json``: its settings.
* ``acts/``, of generated events alone: ``event<nine digits>-spacepoint.csv`` and
  ``-measurements.csv`` of each event, as ACTS writes them.

It gives:

* ``tracks.csv``: event, track (any number from 0 on), space_point. One row per space point on a
  track, in any order; tracks may share space points.
* ``times.csv``, if it times itself: event, step (a word), duration_ns [ns]. Each step of each
  event, reading and writing files left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.events.files import event_file
from exatrkx_service.events.reader import read_space_points
from exatrkx_service.events.tables import EventFormatError, read_table, require
from exatrkx_service.tracking.method import COLUMNS

ACTS, ACTS_FILES = "acts", ("spacepoint", "measurements")
_PLACE = ["r", "phi", "z"]
_POINTS = {"event": np.int64, "space_point": np.int64, **dict.fromkeys(_PLACE, np.float64)}
_EVENTS = {"event": np.int64, "n_space_points": np.int64}
_TYPES = {"step": str}  # of the columns of results; the others are integers


def write_events(
    folder: Path, events: Mapping[int, Path], settings: Mapping[str, Any]
) -> dict[int, int]:
    """Writes what a finder gets.

    Args:
        folder: an empty folder.
        events: folder of each event by its number, see ``manifest.read_manifests``.
        settings: of the finder; JSON.

    Returns:
        The number of space points of each event.

    Raises:
        EventFormatError: an event is missing or malformed.
    """
    points = {event: read_space_points(place, event) for event, place in events.items()}
    sizes = {event: len(own) for event, own in points.items()}
    table = pd.DataFrame(sizes.items(), columns=[*_EVENTS])
    table.to_csv(folder / "events.csv", index=False)
    own = [
        pd.DataFrame({"event": event, "space_point": np.arange(len(rows))}).join(
            pd.DataFrame(rows, columns=_PLACE)
        )
        for event, rows in points.items()
    ]
    # The shortest text that stands for the same float32.
    pd.concat(own).to_csv(folder / "space_points.csv", index=False)
    (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / ACTS).mkdir()
    for event, place in events.items():
        for kind in ACTS_FILES:
            if (file := event_file(place, event, kind)).is_file():
                (folder / ACTS / file.name).symlink_to(file.resolve())
    if not any((folder / ACTS).iterdir()):
        (folder / ACTS).rmdir()
    return sizes


def read_events(folder: Path) -> dict[int, np.ndarray]:
    """The space points of each event, float32 (N, 3): r [mm], phi [rad], z [mm]."""
    sizes = read_table(folder / "events.csv", None, _EVENTS)
    table = read_table(folder / "space_points.csv", None, _POINTS)
    rows = table[_PLACE].to_numpy(np.float32)
    ends = np.cumsum(sizes["n_space_points"])[:-1]
    return dict(zip(sizes["event"].tolist(), np.split(rows, ends), strict=True))


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of the finder."""
    return json.loads((folder / "settings.json").read_text())


def write_results(folder: Path, tracks: pd.DataFrame, times: pd.DataFrame) -> None:
    """Writes what a finder gives: the tables of ``Method``."""
    tracks.to_csv(folder / "tracks.csv", index=False)
    times.to_csv(folder / "times.csv", index=False)


def read_results(folder: Path, sizes: Mapping[int, int]) -> dict[str, pd.DataFrame]:
    """Reads and checks what a finder gave.

    Args:
        folder: where it was to write.
        sizes: the number of space points of each event.

    Returns:
        ``tracks`` and ``times`` as in ``Method``; the latter is empty if it did not time itself.

    Raises:
        EventFormatError: names the file, the line and the column of what is not as it must be.
    """
    tracks_file, times_file = folder / "tracks.csv", folder / "times.csv"
    tracks = _read(tracks_file, "tracks")
    _require_events(tracks_file, tracks, sizes)
    points = tracks["space_point"].to_numpy()
    most = tracks["event"].map(sizes).to_numpy()
    expected = "a space point of its event, from 0 to one less than their number"
    require(tracks_file, "space_point", (points >= 0) & (points < most), expected, tracks)
    require(tracks_file, "track", (tracks["track"] >= 0).to_numpy(), "a number from 0 on", tracks)
    once = ~tracks.duplicated().to_numpy()
    require(tracks_file, "event,track,space_point", once, "each space point once a track", tracks)
    if not times_file.exists():
        return {"tracks": tracks, "times": _no_times()}
    times = _read(times_file, "times")
    _require_events(times_file, times, sizes)
    positive = (times["duration_ns"] > 0).to_numpy()
    require(times_file, "duration_ns", positive, "a time [ns] above 0", times)
    words = times["step"].str.fullmatch(r"[\w-]{1,64}").to_numpy(bool)
    require(times_file, "step", words, "a word", times)
    once = ~times.duplicated(["event", "step"]).to_numpy()
    require(times_file, "event,step", once, "each step of an event once", times)
    if missing := sizes.keys() - set(times["event"]):
        raise EventFormatError(
            f"{times_file}: no time of event {min(missing)}, expected those of all {len(sizes)}"
        )
    return {"tracks": tracks, "times": times}


def _no_times() -> pd.DataFrame:
    return pd.DataFrame({"event": np.int64([]), "step": "", "duration_ns": np.int64([])})


def _read(path: Path, name: str) -> pd.DataFrame:
    return read_table(
        path, None, {column: _TYPES.get(column, np.int64) for column in COLUMNS[name]}
    )


def _require_events(path: Path, table: pd.DataFrame, sizes: Mapping[int, int]) -> None:
    known = table["event"].isin(sizes.keys()).to_numpy()
    require(path, "event", known, "the number of an event in events.csv", table)
