"""Turns samples and the server's trace into tidy rows, one per event, stage and part."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import pandas as pd

from exatrkx_service.client.remote import REQUEST
from exatrkx_service.measure.cell import Cell
from exatrkx_service.measure.load import Sample
from exatrkx_service.measure.trace import Request, TraceError, between
from exatrkx_service.pipeline.stopwatch import Lap

SIZES = ("n_space_points", "n_edges_built", "n_edges_filtered")


def split_request(
    lap: Lap, request: Request, notes: Sequence[Lap], native: Collection[str] = ()
) -> list[Lap]:
    """Cuts a request's time, as the client saw it, by the time stamps of the server.

    Args:
        lap: the request as the client saw it.
        request: as the server saw it, on the client's clock.
        notes: what the served models noted of it, see ``serving.journal``.
        native: stages that the server's own backend computes, and so without notes.

    Returns:
        The parts. Each lies between two readings of a clock; where a stamp is missing, the time
        up to the next one is in no part.

    Raises:
        TraceError: stamps are out of order; the server took the request at a time when the client
            had not sent it, so they do not share a clock; or a model noted nothing about it.
    """
    stage, begin_ns, end_ns = lap.stage, lap.start_ns, lap.start_ns + lap.duration_ns
    if not all(begin_ns <= stamp <= end_ns for stamp in _outermost(request)):
        raise TraceError(f"the server's trace of {request.model} is not on the client's clock")
    return [
        *between(stage, "send", begin_ns, request.read_ns),
        *between(stage, "accept", request.read_ns, request.start_ns),
        *request.parts(stage, notes, native),
        *between(stage, "answer", request.done_ns(), request.send_ns),
        *between(stage, "receive", request.send_ns, end_ns),
    ]


def _outermost(request: Request) -> tuple[int, int]:
    """When the server first and last had to do with a request [ns].

    Raises:
        TraceError: its trace says neither.
    """
    stamps = (request.read_ns, request.start_ns, request.done_ns(), request.send_ns)
    known = [stamp for stamp in stamps if stamp is not None]
    if not known:
        raise TraceError(f"the server's trace of {request.model} has no time stamps")
    return known[0], known[-1]


def on_the_clients_clock(
    lap: Lap, request: Request, notes: Sequence[Lap]
) -> tuple[Request, list[Lap]]:
    """Puts a request of a server with another clock into the middle of the client's time of it.

    The durations in the server are right. What the network and both ends of it take is known in
    sum alone: ``send`` and ``receive`` are half of it each, whatever each way took.

    Args:
        lap: the request as the client saw it.
        request: as the server saw it.
        notes: what the models noted of it.

    Raises:
        TraceError: the server had the request for longer than the client waited.
    """
    first_ns, last_ns = _outermost(request)
    ways_ns = lap.duration_ns - (last_ns - first_ns)
    if ways_ns < 0:
        raise TraceError(f"the server had {request.model} {-ways_ns} ns longer than the client")
    offset_ns = lap.start_ns + ways_ns // 2 - first_ns
    moved = [note._replace(start_ns=note.start_ns + offset_ns) for note in notes]
    return request.shifted(offset_ns), moved


def parts_of(
    sample: Sample,
    requests: Mapping[str, Request] | None,
    journals: Mapping[str, list[Lap]],
    *,
    same_clock: bool = True,
    native: Collection[str] = (),
) -> list[Lap]:
    """All parts of an event that did not fail, and what they leave of its time.

    Each stage has each part once: the sum of it, from its first start. Arguments as of ``tidy``.

    Raises:
        TraceError: the server's trace or the models' journals lack one of the event's requests, or
            can't be right.
    """
    laps: list[Lap] = []
    for lap in sample.laps:
        if lap.part != REQUEST or requests is None:
            laps.append(lap)
            continue
        request_id = f"{sample.request_id}/{lap.stage}"
        if request_id not in requests:
            raise TraceError(f"the server's trace lacks request {request_id}")
        request, notes = requests[request_id], journals.get(request_id, [])
        try:
            if not same_clock:
                request, notes = on_the_clients_clock(lap, request, notes)
            laps += split_request(lap, request, notes, native)
        except TraceError as error:
            raise TraceError(f"request {request_id}: {error}") from None
    if not laps:
        return []
    rest_ns = unattributed(sample.duration_ns, laps)
    if rest_ns < 0:
        raise TraceError(
            f"event {sample.request_id}: its parts take {-rest_ns} ns more than it took as a whole"
        )
    parts: dict[tuple[str, str], Lap] = {}
    for lap in laps:
        same = parts.get(lap[:2])
        parts[lap[:2]] = (
            same._replace(duration_ns=same.duration_ns + lap.duration_ns) if same else lap
        )
    return [*parts.values(), Lap("event", "unattributed", sample.start_ns, rest_ns)]


def unattributed(total_ns: int, laps: Iterable[Lap]) -> int:
    """What the parts leave of an event's time [ns]; negative if they overlap."""
    return total_ns - sum(lap.duration_ns for lap in laps)


def tidy(
    cells: Sequence[Cell],
    *,
    requests: Mapping[str, Request] | None,
    journals: Mapping[str, list[Lap]],
    sizes: pd.DataFrame,
    option: str,
    round_number: int,
    same_clock: bool = True,
    native: Collection[str] = (),
) -> pd.DataFrame:
    """Makes the rows of one job; their columns are described in results/README.md.

    Args:
        cells: what was measured.
        requests: the server's trace, by request id; empty where no server was used, None where
            it can't be had: requests are not divided then.
        journals: what the served models noted, by request id; likewise.
        sizes: one row per event: ``event`` and its n_space_points, n_edges_built, n_edges_filtered.
        option: name of the service option.
        round_number: from 1.
        same_clock: whether client and server have one clock, see ``on_the_clients_clock``.
        native: see ``split_request``.
    """
    how = {"same_clock": same_clock, "native": native}
    rows = []
    for cell, number, sample in _samples(cells):
        head = (cell.concurrency, sample.arm, number)
        head += (sample.repetition, sample.event, sample.client)
        tail = (sample.status, sample.error, sample.labels_sha256)
        rows.append((*head, "event", "total", sample.start_ns, sample.duration_ns, *tail))
        laps = parts_of(sample, requests, journals, **how)
        rows += [(*head, *lap, sample.status, "", "") for lap in laps]
    columns = [
        *("concurrency", "arm", "block", "repetition", "event", "client", "stage", "part"),
        *("start_ns", "duration_ns", "status", "error", "labels_sha256"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "option", option)
    table.insert(1, "round", round_number)
    return table.merge(sizes[["event", *SIZES]], on="event", how="left", validate="many_to_one")


def _samples(cells: Sequence[Cell]) -> Iterator[tuple[Cell, int, Sample]]:
    for cell in cells:
        for number, block in enumerate(cell.samples):
            for sample in block:
                yield cell, number, sample


def tidy_blocks(cells: Sequence[Cell], option: str, round_number: int) -> pd.DataFrame:
    """The blocks of one job, one row per block and arm; see results/README.md."""
    table = pd.DataFrame([row for cell in cells for row in cell.blocks])
    table.insert(0, "option", option)
    table.insert(1, "round", round_number)
    return table
