"""CSV files as the releases of ACTS write them, from 15 on.

What they have, from ``Examples/Io/Csv/src`` in each:

- ``spacepoint``: one measurement and ``x,y,z``, with its geometry id since 20.2; two of each since
  43.3. The CsvSpacePointReader takes files ``spacepoints`` of another origin, with ``sp_x,sp_y,
  sp_z``.
- ``hits`` and the files of particles: ``particle_id`` in one number, since 44 in five columns.
- ``measurement-simhit-map``: ids of measurements, and numbers of rows of ``hits``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from exatrkx_service.events.event import Event
from exatrkx_service.events.files import BARCODE_COLUMNS, HNL_FILE, event_file
from exatrkx_service.events.formats.base import Format, find_files, shown_files
from exatrkx_service.events.tables import EventFormatError, read_table, require
from exatrkx_service.events.truth import File, Truth, event_with_truth, space_points

_SPACE_POINTS = ("spacepoint", "spacepoints")
_HITS, _LINKS = "hits", "measurement-simhit-map"
# Of the files of particles the first that is there counts. All particles that were simulated: since
# release 38, and before; then those that the generator made, and a part of them.
_ALL_PARTICLES = ("particles_simulated", "particles_initial")
_PARTICLES = (*_ALL_PARTICLES, "particles", "particles_selected")
_NAMES = (
    r"event(?P<event>[0-9]{9,18})-"
    rf"(?P<kind>{'|'.join((*_SPACE_POINTS, _HITS, _LINKS, *_PARTICLES, HNL_FILE))})\.csv"
)
_EXPECTED = "files event<number of nine digits>-spacepoint.csv (or spacepoints, or .csv.gz) of ACTS"

_UINT, _FLOAT = np.uint64, np.float64
_IDS = ({"measurement_id_1": _UINT, "measurement_id_2": _UINT}, {"measurement_id": _UINT})
_XYZ = ("x", "y", "z"), ("sp_x", "sp_y", "sp_z")
_BARCODES = (dict.fromkeys(BARCODE_COLUMNS, _UINT), {"particle_id": _UINT})
_BITS = (12, 12, 16, 8, 16)  # of the five fields in one number, from the highest on
_HIT_ID = {"hit_id": _UINT}
_PDG = {"particle_type": np.int64}
_PARTICLE = {**_PDG, **dict.fromkeys(("vx", "vy", "vz", "px", "py", "pz", "q"), _FLOAT)}


class Acts(Format):
    """Events in the CSV files of a release of ACTS, see above.

    The truth is in ``hits``, ``measurement-simhit-map`` and one of the files of particles, which
    is the same one for the whole folder. The hits' ids are the numbers of their rows, or in a
    column ``hit_id``. The list ``hnl`` of our own events may be there as well.
    """

    def files(self) -> dict[int, tuple[Path, ...]]:
        """See ``Format``."""
        return {
            event: (
                _space_point_file(files),
                *(files[kind] for kind in self._truth_kinds if kind in files),
            )
            for event, files in self._files.items()
        }

    def has_truth(self) -> bool:
        """See ``Format``: whether an event has all the files; then all must."""
        return bool(self._truth_kinds)

    def read(self, event: int) -> Event:
        """See ``Format``."""
        if event not in self._files:
            raise EventFormatError(f"{self.folder}: no space points of event {event}")
        path = _space_point_file(self._files[event])
        layouts = [{**ids, **dict.fromkeys(xyz, _FLOAT)} for xyz in _XYZ for ids in _IDS]
        table = read_table(path, "spacepoint", *layouts)
        *ids, x, y, z = table.columns
        # Releases 42.0 to 43.2 wrote one of the two measurements of a point from strips.
        points = space_points((path, table), ids if len(ids) == 2 else [*ids, x, y, z], (x, y, z))
        if not self.has_truth():
            return Event.without_truth(event, points)
        if len(ids) == 1:
            once = ~table.duplicated(ids).to_numpy()
            expected = (
                "each measurement once; ACTS 42.0 to 43.2 wrote one of the two of a point from "
                "strips, so that its particle is not known: take the files with the truth away"
            )
            require(path, ids[0], once, expected, table)
        return event_with_truth(event, points, (path, table[ids]), self._truth(event))

    @cached_property
    def _files(self) -> dict[int, dict[str, Path]]:
        """The files of each event with space points, by kind."""
        found = find_files(self.folder, _NAMES, _EXPECTED).items()
        without = [files for _, files in found if not files.keys() & set(_SPACE_POINTS)]
        if len(without) == len(found):
            raise EventFormatError(
                f"{self.folder}: expected {_EXPECTED}; found {shown_files(self.folder)}"
            )
        if without:
            (path, *_) = without[0].values()
            raise EventFormatError(f"{path}: its event has no space points; expected {_EXPECTED}")
        return dict(found)

    @cached_property
    def _truth_kinds(self) -> tuple[str, ...]:
        """Kinds of the files with the truth, the particles first; none where no event has all."""
        events = [files.keys() for files in self._files.values()]
        for particles in _PARTICLES:
            kinds = (particles, _HITS, _LINKS)
            if any(each >= set(kinds) for each in events):
                return (*kinds, HNL_FILE) if any(HNL_FILE in each for each in events) else kinds
        for event, files in self._files.items():
            some = [kind for kind in (_HITS, _LINKS) if kind in files]
            if some:
                missing = [kind for kind in (_HITS, _LINKS) if kind not in files] or ["particles"]
                raise EventFormatError(
                    f"{files[some[0]]}: event {event} has no {missing[0]}, with which it would say "
                    f"which particles made the space points; expected {_HITS}, {_LINKS} and one of "
                    f"{', '.join(_PARTICLES)}, or none of them"
                )
        return ()

    def _truth(self, event: int) -> Truth:
        files = self._files[event]
        for kind in self._truth_kinds:
            if kind not in files:
                raise EventFormatError(
                    f"{event_file(self.folder, event, kind)}: no such file, nor with .gz; other "
                    f"events have {kind}, expected the truth of each event or of none"
                )
        kind, links = self._truth_kinds[0], files[_LINKS]
        path, particles = _read(files[kind], "particles_simulated", _PARTICLE)
        if kind not in _ALL_PARTICLES:  # the generator's beams are in there
            particles = particles[(particles.px != 0) | (particles.py != 0)].reset_index(drop=True)
        return Truth(
            particles=(path, particles),
            hits=_read(files[_HITS], _HITS, _HIT_ID, {}),
            links=(links, read_table(links, _LINKS, {"measurement_id": _UINT, **_HIT_ID})),
            hnl=_read(files[HNL_FILE], HNL_FILE, _PDG) if HNL_FILE in self._truth_kinds else None,
            complete=kind in _ALL_PARTICLES,
        )


def _space_point_file(files: Mapping[str, Path]) -> Path:
    paths = [files[kind] for kind in _SPACE_POINTS if kind in files]
    if len(paths) > 1:
        raise EventFormatError(
            f"{paths[1]}: there is {paths[0].name} as well; expected the space points once"
        )
    return paths[0]


def _read(path: Path, kind: str, *columns: Mapping[str, type]) -> File:
    """A file with barcodes, in one number or in five, and with others of its columns."""
    table = read_table(
        path, kind, *({**barcode, **others} for barcode in _BARCODES for others in columns)
    )
    if "particle_id" in table:
        packed, shift = table["particle_id"].to_numpy(), 64
        for name, bits in zip(BARCODE_COLUMNS, _BITS, strict=True):
            shift -= bits
            table[name] = (packed >> np.uint64(shift)) & np.uint64(2**bits - 1)
    return path, table
