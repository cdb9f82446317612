"""Turns samples and the server's trace into tidy rows, one per event, stage and part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import pandas as pd

from exatrkx_service.client.remote import REQUEST
from exatrkx_service.measure.cell import Cell
from exatrkx_service.measure.load import Sample
from exatrkx_service.measure.trace import Request, TraceError
from exatrkx_service.options import FUSED
from exatrkx_service.pipeline.stopwatch import Lap

SIZES = ("n_space_points", "n_edges_built", "n_edges_filtered")


def split_request(lap: Lap, request: Request) -> list[Lap]:
    """Cuts a request's time, as the client saw it, into the transfer and the server's parts.

    Raises:
        TraceError: the server took the request at a time when the client had not sent it, so they
            do not share a clock.
    """
    end_ns = lap.start_ns + lap.duration_ns
    if not lap.start_ns <= request.start_ns <= end_ns:
        raise TraceError(f"the server's trace of {request.model} is not on the client's clock")
    parts = request.parts(lap.stage, end_ns)
    transfer = lap.duration_ns - sum(part.duration_ns for part in parts)
    return [Lap(lap.stage, "transfer", lap.start_ns, transfer), *parts]


def on_the_clients_clock(lap: Lap, request: Request, inner: list[Lap]) -> tuple[Request, list[Lap]]:
    """Puts a request of a server with another clock into the middle of the client's time of it.

    The durations are right; the starts are as if both ways took equally long.

    Args:
        lap: the request as the client saw it.
        request: as the server saw it.
        inner: what the models noted of it.
    """
    way_ns = max(0, lap.duration_ns - request.duration_ns) // 2
    offset_ns = lap.start_ns + way_ns - request.start_ns
    moved = [one._replace(start_ns=one.start_ns + offset_ns) for one in inner]
    return request.shifted(offset_ns), moved


def split_compute(
    parts: list[Lap], inner: list[Lap], request_id: str, native: Collection[str] = ()
) -> list[Lap]:
    """Tells the stages' own work from what the server's backend does around it.

    Args:
        parts: of a request. What Triton calls the compute time of a model, ``compute_infer``, holds
            the exchange with the model's process.
        inner: the stages' own work as the models noted it, see ``serving.journal``.
        request_id: for the error.
        native: stages that the server's own backend computes, and so without an exchange.

    Returns:
        The parts with that work as ``compute_infer``, under the stages' names, and the rest of each
        model's compute time as its part ``backend``.

    Raises:
        TraceError: a model noted nothing about the request.
    """
    result = []
    for lap in parts:
        if lap.part != "compute_infer" or lap.stage in native:
            result.append(lap)
            continue
        own = [one for one in inner if lap.stage in (one.stage, FUSED)]
        if not own:
            raise TraceError(f"the model of {lap.stage} noted nothing about request {request_id}")
        rest = lap.duration_ns - sum(one.duration_ns for one in own)
        result += [lap._replace(part="backend", duration_ns=rest), *own]
    return result


def parts_of(
    sample: Sample,
    requests: Mapping[str, Request] | None,
    journals: Mapping[str, list[Lap]],
    *,
    same_clock: bool = True,
    native: Collection[str] = (),
) -> list[Lap]:
    """All parts of an event; they add up to its time. Arguments as of ``tidy``.

    Raises:
        TraceError: the server's trace or the models' journals lack one of the event's requests.
    """
    parts: list[Lap] = []
    for lap in sample.laps:
        if lap.part != REQUEST or requests is None:
            parts.append(lap)
            continue
        request_id = f"{sample.request_id}/{lap.stage}"
        if request_id not in requests:
            raise TraceError(f"the server's trace lacks request {request_id}")
        request, inner = requests[request_id], journals.get(request_id, [])
        if not same_clock:
            request, inner = on_the_clients_clock(lap, request, inner)
        parts += split_compute(split_request(lap, request), inner, request_id, native)
    return parts


def tidy(
    cells: Sequence[Cell],
    requests: Mapping[str, Request] | None,
    journals: Mapping[str, list[Lap]],
    sizes: pd.DataFrame,
    *,
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
        native: see ``split_compute``.
    """
    how = {"same_clock": same_clock, "native": native}
    rows = []
    for cell, number, sample in _samples(cells):
        head = (cell.concurrency, sample.arm, number)
        head += (sample.repetition, sample.event, sample.client)
        status = "failed" if sample.error else "ok"
        tail = (status, sample.error, sample.labels_sha256)
        rows.append((*head, "event", "total", sample.start_ns, sample.duration_ns, *tail))
        laps = parts_of(sample, requests, journals, **how)
        rows += [(*head, *lap, status, "", "") for lap in laps]
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
