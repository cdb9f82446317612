"""Events of the TrackML challenge: files of hits, and of their truth and particles."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.event import Event, cylindrical
from exatrkx_service.events.formats.base import Format, find_files, require_event
from exatrkx_service.events.particles import particle_table
from exatrkx_service.events.tables import read_table, require
from exatrkx_service.events.units import require_gev, require_millimetres

NOISE = np.uint64(0)  # the particle_id of a hit that no particle made
_FILES = r"event(?P<event>[0-9]{1,18})-(?P<kind>hits|truth|particles)\.csv"
_COLUMNS = {
    "hits": {"hit_id": np.uint64, **dict.fromkeys("xyz", np.float64)},
    "truth": {"hit_id": np.uint64, "particle_id": np.uint64},
    "particles": {
        "particle_id": np.uint64,
        **dict.fromkeys(("vx", "vy", "vz", "px", "py", "pz", "q"), np.float64),
    },
}
_OPTIONAL = {"particle_type": np.int64}  # the throughput phase's particles have it


class TrackML(Format):
    """Each hit is a space point. Truth is in the files ``truth`` and ``particles``, both or none.

    Files of ``cells``, blacklists and others are not looked at.
    """

    @cached_property
    def _files(self) -> dict[int, dict[str, Path]]:
        expected = "files event…-hits.csv of TrackML, or .csv.gz"
        return find_files(self.folder, _FILES, expected)

    def files(self) -> dict[int, tuple[Path, ...]]:
        """See ``Format.files``; an event without its hits counts, and can't be read."""
        return {
            event: tuple(files[kind] for kind in sorted(files))
            for event, files in self._files.items()
        }

    def has_truth(self) -> bool:
        """See ``Format.has_truth``: whether one event at least has such a file."""
        return any(files.keys() & {"truth", "particles"} for files in self._files.values())

    def read(self, event: int) -> Event:
        """See ``Format.read``."""
        require_event(self.folder, event, self._files)
        path, hits = self._table(event, "hits")
        require(path, "hit_id", ~hits["hit_id"].duplicated().to_numpy(), "each hit once", hits)
        points = cylindrical(*(hits[name].to_numpy() for name in "xyz"))
        for name, column in (("x,y", 0), ("z", 2)):
            good = np.isfinite(points[:, column])
            require(path, name, good, "a position [mm] that fits into float32", hits)
        require_millimetres(path, points)
        if not self.has_truth():
            return Event.without_truth(event, points)
        particles_path, particles = self._particles(event)
        truth_path, truth = self._table(event, "truth")
        good = ~truth["hit_id"].duplicated().to_numpy()
        require(truth_path, "hit_id", good, "each hit once", truth)
        hit = pd.Index(hits["hit_id"]).get_indexer(truth["hit_id"])
        require(truth_path, "hit_id", hit >= 0, f"a hit of {path.name}", truth)
        known = np.bincount(hit, minlength=len(hits)) > 0
        require(path, "hit_id", known, f"a hit with a row in {truth_path.name}", hits)
        particle = pd.Index(particles["particle_id"]).get_indexer(truth["particle_id"])
        good = (particle >= 0) | (truth["particle_id"] == NOISE).to_numpy()
        expected = f"a particle of {particles_path.name}, or 0 for noise"
        require(truth_path, "particle_id", good, expected, truth)
        particle_index = np.empty(len(hits), np.int64)
        particle_index[hit] = particle
        ids = list(map(str, particles["particle_id"].tolist()))
        return Event(event, points, particle_index, particle_table(particles, ids, particle_index))

    def _particles(self, event: int) -> tuple[Path, pd.DataFrame]:
        """Rows with the columns that ``particle_table`` takes."""
        path, table = self._table(event, "particles")
        good = (table["particle_id"] != NOISE).to_numpy()
        require(path, "particle_id", good, "an id above 0, which stands for noise", table)
        good = ~table["particle_id"].duplicated().to_numpy()
        require(path, "particle_id", good, "each particle once", table)
        good = np.hypot(table["px"], table["py"]).to_numpy() > 0
        require(path, "particle_id,px,py", good, "a transverse momentum above 0", table)
        require_gev(path, table)
        if "particle_type" not in table:
            table["particle_type"] = 0
        return path, table.rename(columns={"particle_type": "pdg", "q": "charge"})

    def _path(self, event: int, kind: str) -> Path:
        """Of a file of an event; where there is none, the one it would have."""
        files = self._files[event]
        if kind in files:
            return files[kind]
        other, path = next(iter(files.items()))
        return path.with_name(path.name.replace(f"-{other}.", f"-{kind}."))

    def _table(self, event: int, kind: str) -> tuple[Path, pd.DataFrame]:
        path = self._path(event, kind)
        columns = _COLUMNS[kind]
        # With the type of the particles, where the file has it.
        layouts = ({**columns, **_OPTIONAL}, columns) if kind == "particles" else (columns,)
        return path, read_table(path, None, *layouts)
