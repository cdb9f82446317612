"""Reads the trace of a Triton server: when each request was where, on the server's clock.

Formats: Triton's trace extension, level TIMESTAMPS, mode ``triton``; the file is a JSON list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from exatrkx_service.pipeline.stopwatch import Lap

# Part, and the time stamps it lies between.
PARTS = {
    "queue": ("QUEUE_START", "COMPUTE_START"),
    "compute_input": ("COMPUTE_START", "COMPUTE_INPUT_END"),
    "compute_infer": ("COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START"),
    "compute_output": ("COMPUTE_OUTPUT_START", "COMPUTE_END"),
}


class TraceError(ValueError):
    """A trace that is missing, damaged, or lacks a request."""


@dataclass
class Request:
    """One request in the server.

    Attributes:
        model: the model's name.
        stamps: time stamps [ns], CLOCK_MONOTONIC, by name.
        steps: the requests that an ensemble made of it.
    """

    model: str
    stamps: dict[str, int] = field(default_factory=dict)
    steps: list[Request] = field(default_factory=list)

    @property
    def start_ns(self) -> int:
        """When the server's core took the request."""
        return self.stamps["REQUEST_START"]

    @property
    def duration_ns(self) -> int:
        """How long the server's core had the request."""
        return self.stamps["REQUEST_END"] - self.start_ns

    def shifted(self, offset_ns: int) -> Request:
        """The same request on a clock that is ahead by ``offset_ns``."""
        stamps = {name: stamp + offset_ns for name, stamp in self.stamps.items()}
        return Request(self.model, stamps, [step.shifted(offset_ns) for step in self.steps])

    def parts(self, stage: str, until_ns: int) -> list[Lap]:
        """The parts of the time in the server, under the name of a stage, without gaps.

        A backend sends its response before it ends its books: COMPUTE_END and REQUEST_END can lie
        after the moment ``until_ns`` at which the next in line had the response. Time after that
        delays nobody and is left out. What lies in no part is ``server_other``; for an ensemble,
        all that its steps leave: the time between them.

        Args:
            stage: name for the parts; the steps of an ensemble keep their models' names.
            until_ns: when the response was there.
        """
        laps: list[Lap] = []
        if self.steps:
            steps = sorted(self.steps, key=lambda step: step.start_ns)
            ends = [step.start_ns for step in steps[1:]] + [until_ns]
            for step, end in zip(steps, ends, strict=True):
                laps += step.parts(step.model, end)
            stop = min(self.stamps["REQUEST_END"], until_ns)
        else:
            for part, (begin, end) in PARTS.items():
                start, stop = (min(self.stamps[name], until_ns) for name in (begin, end))
                laps.append(Lap(stage, part, start, stop - start))
        rest = stop - self.start_ns - sum(lap.duration_ns for lap in laps)
        return [*laps, Lap(stage, "server_other", self.start_ns, rest)]


def read_trace(path: Path) -> dict[str, Request]:
    """Reads a trace file.

    Returns:
        The clients' requests by the id that the client gave them.

    Raises:
        TraceError: the file is missing or is no trace.
    """
    try:
        entries = json.loads(path.read_text())
    except FileNotFoundError:
        raise TraceError(
            f"{path}: the server wrote no trace; was it killed before its end?"
        ) from None
    except json.JSONDecodeError as error:
        raise TraceError(f"{path}: expected a complete JSON trace: {error}") from None
    requests: dict[int, Request] = {}
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in entries:
        number = entry["id"]
        request = requests.setdefault(number, Request(""))
        request.model = entry.get("model_name", request.model)
        if entry.get("request_id"):
            names[number] = entry["request_id"]
        if "parent_id" in entry:
            parents[number] = entry["parent_id"]
        for stamp in entry.get("timestamps", ()):
            request.stamps[stamp["name"]] = int(stamp["ns"])
    for child, parent in parents.items():
        requests[parent].steps.append(requests[child])
    return {name: requests[number] for number, name in names.items() if number not in parents}
