"""Runs a track finder in Python on all events, and times it; a program of its own.

``python -m exatrkx_service.finders.entry_point FINDER THREADS EVENTS TRACKS``, where FINDER is
``package.module:function`` or ``path/to/file.py:function``, and the folders are those of
``exchange``. It is a process of its own, so that a finder that crashes, hangs or ends it takes
nothing along, and so that no truth is where the finder runs.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.finders.exchange import read_events, read_settings, write_results
from exatrkx_service.pipeline.device import settle
from exatrkx_service.tracking.matching import to_tracks
from exatrkx_service.tracking.method import COLUMNS

N_WARM_UP = 10  # events that are run once more before, and not counted
STEP = "finding"
Find = Callable[[np.ndarray], Any]


class FinderError(Exception):
    """What is wrong with a finder, or with what it gave: one line."""


def load(name: str, settings: Mapping[str, Any]) -> Find:
    """The function from space points to tracks.

    Args:
        name: ``package.module:function`` or ``path/to/file.py:function``. Called with the settings
            as keyword arguments the function, or class, gives what is called for each event.
        settings: the settings.

    Raises:
        FinderError: it can't be imported, is not there or gives nothing that can be called.
    """
    place, _, attribute = name.rpartition(":")
    try:
        module = _import(place)
    except (Exception, SystemExit) as error:
        raise FinderError(f"can't be imported: {_told(error)}") from error
    make = getattr(module, attribute, None)
    if not callable(make):
        own = [
            key
            for key, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
        ]
        raise FinderError(
            f"{attribute}: no such function or class, expected one of {', '.join(own) or 'some'}"
        )
    try:
        find = make(**settings)
    except (Exception, SystemExit) as error:
        raise FinderError(
            f"called with the settings {dict(settings)}: {_told(error)}; expected that it gives "
            "the function that is called with the space points of each event"
        ) from error
    if not callable(find):
        raise FinderError(
            f"called with the settings it gave {_kind(find)}, expected a function that is called "
            "with the space points of each event"
        )
    return find


def _import(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = Path(place).resolve()
    sys.path.insert(0, str(path.parent))  # for what lies beside it
    # Not in the place of a library of that name which was imported here.
    name = f"finder_{path.stem}" if path.stem in sys.modules else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def find_tracks(find: Find, events: Mapping[int, np.ndarray]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Calls a finder for each event, after a warm-up, one event after the other.

    What is timed is the call alone. Each gets an array of its own, which it may change.

    Args:
        find: takes float32 (N, 3), r [mm], phi [rad], z [mm]; gives what ``as_tracks`` takes.
        events: the space points of each event by its number.

    Returns:
        The tables ``tracks`` and ``times`` of ``Method``.

    Raises:
        FinderError: names the event, and what the finder raised or gave.
    """
    tracks, times = [], []
    for event in list(events)[:N_WARM_UP]:
        _call(find, event, events[event])
    for event, points in events.items():
        found, duration = _call(find, event, points)
        tracks.append(as_tracks(found, event, len(points)))
        times.append((event, STEP, duration))
    return pd.concat(tracks), pd.DataFrame(times, columns=COLUMNS["times"])


def _call(find: Find, event: int, points: np.ndarray) -> tuple[Any, int]:
    points = points.copy()
    try:
        begin = time.perf_counter_ns()
        found = find(points)
        return found, time.perf_counter_ns() - begin
    except (Exception, SystemExit) as error:
        raise FinderError(
            f"event {event} with {len(points)} space points: {_told(error)}"
        ) from error


def as_tracks(found: Any, event: int, n_points: int) -> pd.DataFrame:
    """What a finder gave of one event, as rows of ``Method.tracks``.

    Args:
        found: labels, an array of integers (N,), the same for all points of a track and -1 for
            points on none; or a list of tracks, each a list or array of rows of space points.
        event: the event's number.
        n_points: number N of its space points.

    Raises:
        FinderError: it is neither, or not of these space points.
    """
    if isinstance(found, np.ndarray):
        if found.dtype.kind not in "iu" or found.shape != (n_points,):
            raise FinderError(
                f"event {event}: gave {_kind(found)}, expected labels: an array of integers of "
                f"shape ({n_points},)"
            )
        if len(found) and not -1 <= found.min() <= found.max() < 2**63:
            wrong = found.min() if found.min() < -1 else found.max()
            raise FinderError(
                f"event {event}: gave the label {wrong}, expected -1 (on no track) or more"
            )
        return to_tracks(found.astype(np.int64), event)
    if not isinstance(found, (list, tuple)):
        raise FinderError(
            f"event {event}: gave {_kind(found)}, expected an array of labels or a list of tracks"
        )
    tracks = [
        _points(track, f"event {event}: track {i}", n_points) for i, track in enumerate(found)
    ]
    numbers = np.repeat(np.arange(len(tracks)), [len(track) for track in tracks])
    points = np.concatenate([np.empty(0, np.int64), *tracks])
    table = {"event": np.full(len(points), event), "track": numbers, "space_point": points}
    return pd.DataFrame(table).astype(np.int64)


def _points(track: Any, name: str, n_points: int) -> np.ndarray:
    """The rows of a track's space points, int64."""
    try:
        points = np.asarray(track) if isinstance(track, (list, tuple, np.ndarray)) else None
    except ValueError:  # lists of several lengths in it
        points = None
    if points is None or points.ndim != 1 or (len(points) and points.dtype.kind not in "iu"):
        raise FinderError(f"{name} is {_kind(track)}, expected a list of rows of space points")
    if len(points) and not 0 <= points.min() <= points.max() < n_points:
        wrong = points.min() if points.min() < 0 else points.max()
        raise FinderError(f"{name} has the space point {wrong}, expected 0 to {n_points - 1}")
    if len(np.unique(points)) < len(points):
        raise FinderError(f"{name} has a space point twice, expected each once")
    return points.astype(np.int64)


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return f"a {type(value).__name__}"


def _told(error: BaseException) -> str:
    """An exception in one line, with the line of the finder's code that it came from."""
    frames = (
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, importlib.__file__) and frame.filename[0] != "<"
    )
    first = next(frames, None)
    where = f" ({Path(first.filename).name}, line {first.lineno})" if first else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def main(name: str, threads: str, given: str, folder: str) -> None:
    """Runs the finder ``name``; see the module."""
    settle(int(threads))
    find = load(name, read_settings(Path(given)))
    write_results(Path(folder), *find_tracks(find, read_events(Path(given))))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FinderError as error:
        traceback.print_exc()
        sys.exit(f"error: {error}")
