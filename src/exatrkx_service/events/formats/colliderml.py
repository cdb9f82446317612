"""Events of ColliderML: parquet files of tracker hits and particles."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import Event, cylindrical
from exatrkx_service.events.formats.base import (
    Format,
    list_files,
    require_event,
    require_file,
    shown_files,
)
from exatrkx_service.events.formats.list_table import ListTable, require_values
from exatrkx_service.events.particles import particle_table
from exatrkx_service.events.tables import EventFormatError
from exatrkx_service.events.units import require_gev, require_millimetres

NOBODY = np.uint64(2**64 - 1)  # the particle_id of a hit whose particle was not kept; also as -1
_TABLES = ("tracker_hits", "particles", "calo_hits", "tracks")
_POSITION = dict.fromkeys("xyz", np.float64)
_PARTICLE = {
    "particle_id": np.uint64,
    "pdg_id": np.int64,
    **dict.fromkeys(("charge", "px", "py", "pz", "vx", "vy", "vz"), np.float64),
}


class ColliderML(Format):
    """Each measured hit is a space point. Truth is in the particles, if there are files of them.

    A file holds the table that its name has in it, or else the nearest folder's name:
    ``tracker_hits`` or ``particles``; others are not looked at. Folders in the folder are searched
    too, as ``colliderml download`` makes them. Not all particles that made hits are in the table
    of particles; hits of the others have no particle. Particles without transverse momentum, as
    of the beams, are left out.
    """

    @cached_property
    def _tables(self) -> tuple[ListTable, ListTable]:
        """Of tracker hits and of particles."""
        expected = "parquet files of ColliderML whose names or folders have tracker_hits in them"
        list_files(self.folder, expected)
        paths: dict[str | None, list[Path]] = {}
        for path in _parquet_files(self.folder):
            table = _table_of(path, self.folder)
            if table in ("tracker_hits", "particles"):
                require_file(path)
                paths.setdefault(table, []).append(path)
        hits = ListTable(paths.get("tracker_hits", []))
        if not hits.events:
            raise EventFormatError(
                f"{self.folder}: expected {expected}; found {shown_files(self.folder)}"
            )
        particles = ListTable(paths.get("particles", []))
        if "particles" in paths and not particles.events:
            raise EventFormatError(
                f"{paths['particles'][0]}: no event in it; expected the particles of each event "
                "with hits, or no such file"
            )
        return hits, particles

    def files(self) -> dict[int, tuple[Path, ...]]:
        """See ``Format.files``; looks into the files, as their names don't say it."""
        hits, particles = (table.events for table in self._tables)
        return {e: (hits[e], particles[e]) if e in particles else (hits[e],) for e in hits}

    def has_truth(self) -> bool:
        """See ``Format.has_truth``."""
        return bool(self._tables[1].events)

    def read(self, event: int) -> Event:
        """See ``Format.read``; reads all events that are in the same group of rows, once."""
        require_event(self.folder, event, self._tables[0].events)
        truth = {"particle_id": np.uint64} if self.has_truth() else {}
        where, hits = self._tables[0].read(event, {**_POSITION, **truth})
        # ACTS writes NaN for simulated hits that gave no measurement.
        positions = [hits[name] for name in "xyz"]
        measured = ~np.isnan(positions).all(axis=0)
        if len(measured) and not measured.any():
            raise EventFormatError(f"{where}: columns x,y,z: all NaN, expected measured hits")
        points = cylindrical(*positions)
        good = np.isfinite(points).all(axis=1) | ~measured
        require_values(where, "x,y,z", good, "a position [mm] that fits into float32", hits)
        points = points[measured]
        require_millimetres(where, points)
        if not truth:
            return Event.without_truth(event, points)
        particles = self._particles(event)
        made_by = pd.Index(particles["particle_id"]).get_indexer(hits["particle_id"][measured])
        particle_index = made_by.astype(np.int64)
        ids = list(map(str, particles["particle_id"].tolist()))
        return Event(event, points, particle_index, particle_table(particles, ids, particle_index))

    def _particles(self, event: int) -> dict[str, np.ndarray]:
        """The columns that ``particle_table`` takes."""
        if event not in self._tables[1].events:
            raise EventFormatError(
                f"{self.folder}: event {event} is in no file of particles, "
                "expected those of each event with hits, or no such files"
            )
        where, table = self._tables[1].read(event, _PARTICLE)
        ids = table["particle_id"]
        # Above: NOBODY, and what was negative.
        good = ids < np.uint64(2**63)
        require_values(where, "particle_id", good, "an id from 0 on, below 2^63", table)
        once = ~pd.Index(ids).duplicated()
        require_values(where, "particle_id", once, "each particle once", table)
        for name in ("charge", "px", "py", "pz", "vx", "vy", "vz"):
            require_values(where, name, np.isfinite(table[name]), "a finite number", table)
        require_gev(where, table)
        moving = np.hypot(table["px"], table["py"]) > 0
        table["pdg"] = table.pop("pdg_id")
        return {name: values[moving] for name, values in table.items()}


def _parquet_files(folder: Path) -> list[Path]:
    """All in a folder and in those in it, links too; what hangs in a loop of links only once."""

    def refuse(error: OSError) -> None:
        raise EventFormatError(f"{error.filename}: can't be read ({error.strerror})")

    found, seen = [], set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [f for f in folders if os.path.realpath(Path(place, f)) not in seen]
        found += [Path(place, name) for name in names if name.endswith(".parquet")]
    return sorted(found)


def _table_of(path: Path, folder: Path) -> str | None:
    """Which of ``_TABLES`` a file holds, by its name or else by the nearest folder's."""
    for part in reversed((folder.name, *path.relative_to(folder).parts)):
        table = max(_TABLES, key=part.rfind)
        if table in part:
            return table
    return None
