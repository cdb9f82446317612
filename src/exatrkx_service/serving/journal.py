"""What the served models note of each request: when its stages computed.

Triton's time stamps around a model of the Python backend hold the exchange with the model's
process as well. Each model notes the time of the stages' own work, so that both can be told apart.
The notes stay in memory and are written when the server unloads the model.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

from exatrkx_service.pipeline.stopwatch import Lap

FOLDER = "EXATRKX_JOURNAL"  # environment variable: where to write; nothing is noted without it


class Journal:
    """The notes of one instance of a model."""

    def __init__(self) -> None:
        self.folder = os.environ.get(FOLDER)
        self.rows: list[tuple[str, str, int, int]] = []

    def note(self, request_id: str, laps: list[Lap]) -> None:
        """Notes the stages of a request."""
        if self.folder:
            self.rows += [(request_id, lap.stage, lap.start_ns, lap.duration_ns) for lap in laps]

    def write(self) -> None:
        """Writes the notes into a file of this process."""
        if self.folder:
            with (Path(self.folder) / f"{os.getpid()}.csv").open("w", newline="") as file:
                csv.writer(file).writerows(self.rows)


def read_journals(folder: Path) -> dict[str, list[Lap]]:
    """The stages' own work, part ``compute_infer``, by the id of the request.

    The id is that which the client gave; the steps of an ensemble have their request's.
    """
    laps: dict[str, list[Lap]] = defaultdict(list)
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            for request_id, stage, start_ns, duration_ns in csv.reader(file):
                laps[request_id].append(
                    Lap(stage, "compute_infer", int(start_ns), int(duration_ns))
                )
    return dict(laps)
