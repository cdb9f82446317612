"""Names of an event's files and of their columns, as ACTS writes them."""

from __future__ import annotations

from pathlib import Path

HNL_FILE = "hnl"
# Everything kept per event. The space points come last: an event that has them is complete.
EVENT_FILES = (
    "particles_simulated",
    "hits",
    "measurements",
    "measurement-simhit-map",
    HNL_FILE,
    "spacepoint",
)
BARCODE_COLUMNS = (
    "particle_id_pv",
    "particle_id_sv",
    "particle_id_part",
    "particle_id_gen",
    "particle_id_subpart",
)


def event_file(folder: Path, event_id: int, kind: str) -> Path:
    """Path of one of an event's files, e.g. ``event000000007-hits.csv``."""
    return folder / f"event{event_id:09d}-{kind}.csv"
