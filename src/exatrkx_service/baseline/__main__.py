"""The CKF as a track finder like those of others, see ``finders.exchange``.

``python -m exatrkx_service.baseline EVENTS TRACKS``; its settings are those of ``CkfSettings``.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from exatrkx_service.baseline.ckf import find_tracks
from exatrkx_service.baseline.settings import CkfSettings
from exatrkx_service.finders.exchange import ACTS, read_events, read_settings, write_results


def main(given: Path, folder: Path) -> None:
    """Finds the tracks of the events in ``given``, and writes them to ``folder``."""
    if not (given / ACTS).is_dir():
        sys.exit(
            "error: the CKF runs on measurements on the surfaces of the generic detector, which "
            "only generated events have"
        )
    settings, names = read_settings(given), [f.name for f in dataclasses.fields(CkfSettings)]
    if unknown := settings.keys() - set(names):
        sys.exit(f"error: settings.{min(unknown)}: unknown, expected one of {', '.join(names)}")
    events = read_events(given)
    results = find_tracks(given / ACTS, min(events), len(events), CkfSettings(**settings))
    write_results(folder, *results)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
