"""Reads the trace of a Triton server: when each request was where, on the server's clock.

Formats: Triton's trace extension, level TIMESTAMPS, mode ``triton``; the file is a JSON list.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exatrkx_service.options import FUSED
from exatrkx_service.pipeline.stopwatch import Lap

# Time stamps of the server's gRPC or HTTP layer: it has read a request; it begins to answer.
READ = ("GRPC_WAITREAD_END", "HTTP_RECV_END")
SEND = ("GRPC_SEND_START", "HTTP_SEND_START")


class TraceError(ValueError):
    """A trace that is missing, damaged, or lacks a request."""


def between(stage: str, part: str, begin_ns: int | None, end_ns: int | None) -> list[Lap]:
    """The time between two stamps; none where one of them is missing: no part has it then.

    Raises:
        TraceError: they are out of order.
    """
    if begin_ns is None or end_ns is None:
        return []
    if end_ns < begin_ns:
        raise TraceError(f"{stage}: {part} ends {begin_ns - end_ns} ns before it begins")
    return [Lap(stage, part, begin_ns, end_ns - begin_ns)]


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

    def at(self, *names: str) -> int | None:
        """The first of these time stamps that it has [ns]."""
        return next((self.stamps[name] for name in names if name in self.stamps), None)

    @property
    def read_ns(self) -> int | None:
        """When the server had read it; a step of an ensemble was not read."""
        return self.at(*READ)

    @property
    def start_ns(self) -> int | None:
        """When the server's core took it."""
        return self.at("REQUEST_START")

    @property
    def send_ns(self) -> int | None:
        """When the server began to send the answer; that of a step of an ensemble is not sent."""
        return self.at(*SEND)

    def done_ns(self, until_ns: int | None = None) -> int | None:
        """When the server's core had its response.

        A backend sends the response before it ends its books: COMPUTE_END and REQUEST_END can lie
        after the moment at which the next in line had it. That time delays nobody.

        Args:
            until_ns: when the next in line had the response of a step of an ensemble, for which the
                core has no stamp of its own; the backend's COMPUTE_END counts up to then.
        """
        end_ns, books_ns = self.at("INFER_RESPONSE_COMPLETE"), self.at("COMPUTE_END")
        if end_ns is not None or books_ns is None or until_ns is None:
            return end_ns
        return min(books_ns, until_ns)

    def shifted(self, offset_ns: int) -> Request:
        """The same request on a clock that is ahead by ``offset_ns``."""
        stamps = {name: stamp + offset_ns for name, stamp in self.stamps.items()}
        return Request(self.model, stamps, [step.shifted(offset_ns) for step in self.steps])

    def parts(
        self,
        stage: str,
        notes: Sequence[Lap],
        native: Collection[str] = (),
        until_ns: int | None = None,
    ) -> Iterator[Lap]:
        """The parts of the time in the server's core, each between two time stamps.

        Args:
            stage: name for the parts; the steps of an ensemble keep their models' names.
            notes: what its models noted of it, see ``serving.journal``.
            native: models that the server's own backend computes, and so without notes.
            until_ns: see ``done_ns``.

        Raises:
            TraceError: stamps are out of order, or a model noted nothing.
        """
        if self.steps:
            yield from self._steps(stage, notes, native)
            return
        at = self.at
        begin, end = at("COMPUTE_INPUT_END"), at("COMPUTE_OUTPUT_START")
        yield from between(stage, "queue", at("QUEUE_START"), at("COMPUTE_START"))
        yield from between(stage, "compute_input", at("COMPUTE_START"), begin)
        if stage in native:
            yield from between(stage, "compute_infer", begin, end)
        else:
            # The fused model's notes are under the names of its stages.
            own = [note for note in notes if stage in (note.stage, FUSED)]
            if not own:
                raise TraceError(f"the model of {stage} noted nothing")
            own.sort(key=lambda note: note.start_ns)
            yield from between(stage, "hand_over", begin, own[0].start_ns)
            yield from own
            last_ns = own[-1].start_ns + own[-1].duration_ns
            yield from between(stage, "hand_back", last_ns, end)
        yield from between(stage, "compute_output", end, self.done_ns(until_ns))

    def _steps(self, stage: str, notes: Sequence[Lap], native: Collection[str]) -> Iterator[Lap]:
        before_ns = self.start_ns
        steps = sorted(self.steps, key=lambda step: step.start_ns or 0)
        ends = [*(step.start_ns for step in steps[1:]), self.done_ns()]
        for step, until_ns in zip(steps, ends, strict=True):
            yield from between(stage, "between_steps", before_ns, step.start_ns)
            yield from step.parts(step.model, notes, native, until_ns)
            before_ns = step.done_ns(until_ns)
        yield from between(stage, "between_steps", before_ns, self.done_ns())


def read_trace(path: Path) -> dict[str, Request]:
    """Reads a trace file.

    Returns:
        The clients' requests by the id that the client gave them.

    Raises:
        TraceError: the file is missing or is no trace.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise TraceError(
            f"{path}: the server wrote no trace; was it killed before its end?"
        ) from None
    return _requests(_parsed(text, str(path)))


def parse_trace(text: str, source: str) -> dict[str, Request]:
    """As ``read_trace``, of what a server that goes on has added to its file since some moment."""
    text = text.strip().strip(",").removeprefix("[")
    return _requests(_parsed(f"[{text}" if text.endswith("]") else f"[{text}]", source))


def _parsed(text: str, source: str) -> list[dict[str, Any]]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TraceError(f"{source}: expected a complete JSON trace: {error}") from None


def _requests(entries: list[dict[str, Any]]) -> dict[str, Request]:
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
        if parent in requests:
            requests[parent].steps.append(requests[child])
    return {name: requests[number] for number, name in names.items() if number not in parents}
