"""What the served models note: of their process, and of each request when they did what.

Triton's time stamps around a model of the Python backend hold the exchange with the model's
process as well. Each model notes when it took the tensors, when each stage computed and when the
response was made, so that the exchange before and after can be told from it. The notes stay in
memory and are written when the server unloads the model.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exatrkx_service.machine import module_file
from exatrkx_service.pipeline.stopwatch import Lap
from exatrkx_service.serving.health import ServerError

FOLDER = "EXATRKX_JOURNAL"  # environment variable: where to write; nothing is noted without it
CONVERT = "convert"  # part: the model takes its inputs from Triton, and makes the response
WARMUP = "warmup/"  # beginning of the ids of requests that warm up
# What must be the same on both sides: these compute.
MODULES = ("exatrkx_service", "torch", "faiss", "numpy", "scipy")


class Journal:
    """The notes of one instance of a model."""

    def __init__(self) -> None:
        self.folder = os.environ.get(FOLDER)
        self.rows: list[tuple[str, str, str, int, int]] = []

    def introduce(self, model: str, affinity_at_start: set[int]) -> None:
        """Writes what this process is: its model, its modules' files, the CPUs that it may use."""
        if self.folder:
            about = {
                "model": model,
                "modules": {name: str(module_file(name)) for name in MODULES},
                "affinity_at_start": sorted(affinity_at_start),
                "affinity": sorted(os.sched_getaffinity(0)),
            }
            path = Path(self.folder) / f"{os.getpid()}.json"
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps(about))
            temporary.replace(path)

    def note(self, request_id: str, laps: list[Lap]) -> None:
        """Notes the laps of a request: those of its stages, and the model's own, ``CONVERT``."""
        if self.folder:
            self.rows += [(request_id, *lap) for lap in laps]

    def write(self) -> None:
        """Writes the notes into a file of this process."""
        if self.folder:
            with (Path(self.folder) / f"{os.getpid()}.csv").open("w", newline="") as file:
                csv.writer(file).writerows(self.rows)


def check_processes(folder: Path) -> dict[str, dict[str, Any]]:
    """Checks that the served models run as this process does.

    Args:
        folder: with the journals.

    Returns:
        What each process wrote of itself, by ``model/pid``.

    Raises:
        ServerError: one has its modules from elsewhere, or its libraries left it fewer CPUs.
    """
    here = {name: str(module_file(name)) for name in MODULES}
    processes = {}
    for path in sorted(folder.glob("*.json")):
        about = json.loads(path.read_text())
        processes[f"{about['model']}/{path.stem}"] = about
        for name, file in about["modules"].items():
            if file != here[name]:
                raise ServerError(
                    f"the model {about['model']} has its module {name} from {file}, the client "
                    f"from {here[name]}: they would not compare"
                )
        if about["affinity"] != about["affinity_at_start"]:
            raise ServerError(
                f"the libraries of the model {about['model']} have bound it to the CPUs "
                f"{about['affinity']} of {about['affinity_at_start']}; expected all of them"
            )
    return processes


def read_journals(folder: Path) -> dict[str, list[Lap]]:
    """What the models noted, by the id of the request: ``convert``, and ``compute_infer``.

    The first is under the model's name, the second, the stages' own work, under the stage's. The
    id is that which the client gave; the steps of an ensemble have their request's.
    """
    laps: dict[str, list[Lap]] = defaultdict(list)
    for _, rows in _read(folder):
        for request_id, stage, part, start_ns, duration_ns in rows:
            part = CONVERT if part == CONVERT else "compute_infer"
            laps[request_id].append(Lap(stage, part, int(start_ns), int(duration_ns)))
    return dict(laps)


def cold_processes(folder: Path) -> list[str]:
    """Numbers of the models' processes that no request of the warm-up reached."""
    return [
        path.stem
        for path, rows in _read(folder)
        if not any(request_id.startswith(WARMUP) for request_id, *_ in rows)
    ]


def _read(folder: Path) -> Iterator[tuple[Path, list[list[str]]]]:
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            yield path, list(csv.reader(file))
