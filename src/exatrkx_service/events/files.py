"""Names of an event's files, and of the columns that ACTS writes."""

from __future__ import annotations

from pathlib import Path

HNL_FILE = "hnl"
# All of a generated event. The space points come last: an event that has them is complete.
EVENT_FILES = (
    "particles_simulated",
    "hits",
    "measurements",
    "measurement-simhit-map",
    HNL_FILE,
    "spacepoint",
)
# Of an event from elsewhere (``imported``): tables in Parquet; without truth the last alone.
IMPORTED_FILES = ("particles", "space_points")
BARCODE_COLUMNS = (
    "particle_id_pv",
    "particle_id_sv",
    "particle_id_part",
    "particle_id_gen",
    "particle_id_subpart",
)


def event_file(folder: Path, event_id: int, kind: str) -> Path:
    """Path of one of an event's files, e.g. ``event000000007-hits.csv``."""
    return folder / f"event{event_id:09d}-{kind}.{'parquet' if kind in IMPORTED_FILES else 'csv'}"


def event_range(first_event: int, n_events: int) -> range:
    """Numbers of ``n_events`` events from ``first_event`` on.

    Raises:
        ValueError: the range is empty or starts below 0.
    """
    if first_event < 0 or n_events < 1:
        raise ValueError(
            f"first_event {first_event}, n_events {n_events}: expected first_event of at least 0 "
            "and n_events of at least 1"
        )
    return range(first_event, first_event + n_events)
