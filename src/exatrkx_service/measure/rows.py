"""Turns samples and the server's trace into tidy rows, one per event, stage and part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from exatrkx_service.client.remote import REQUEST
from exatrkx_service.measure.load import Sample
from exatrkx_service.measure.trace import Request, TraceError
from exatrkx_service.options import STAGES
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


def split_fused(laps: list[Lap], stage_times: Any) -> list[Lap]:
    """Books the stages inside the fused model under their names; ``compute_infer`` keeps the rest.

    Args:
        laps: parts of the request, one of them ``compute_infer``.
        stage_times: int64 (5, 2): start, from the first stage's, and duration of each stage [ns].
    """
    position, infer = next((i, lap) for i, lap in enumerate(laps) if lap.part == "compute_infer")
    stages = [
        Lap(stage, "compute_infer", infer.start_ns + int(start), int(duration))
        for stage, (start, duration) in zip(STAGES, stage_times, strict=True)
    ]
    rest = infer.duration_ns - sum(lap.duration_ns for lap in stages)
    return [*laps[:position], *stages, infer._replace(duration_ns=rest), *laps[position + 1 :]]


def parts_of(sample: Sample, requests: Mapping[str, Request]) -> list[Lap]:
    """All parts of an event; they add up to its time.

    Raises:
        TraceError: the server's trace lacks one of the event's requests.
    """
    parts: list[Lap] = []
    for lap in sample.laps:
        if lap.part != REQUEST:
            parts.append(lap)
            continue
        request_id = f"{sample.request_id}/{lap.stage}"
        if request_id not in requests:
            raise TraceError(f"the server's trace lacks request {request_id}")
        parts += split_request(lap, requests[request_id])
    return parts if sample.stage_times is None else split_fused(parts, sample.stage_times)


def tidy(
    samples: Mapping[int, list[Sample]],
    requests: Mapping[str, Request],
    sizes: pd.DataFrame,
    *,
    option: str,
    round_number: int,
) -> pd.DataFrame:
    """Makes the rows of one job; their columns are described in results/README.md.

    Args:
        samples: of each concurrency.
        requests: the server's trace, by request id; empty where no server was used.
        sizes: one row per event: ``event`` and its n_space_points, n_edges_built, n_edges_filtered.
        option: name of the service option.
        round_number: from 1.
    """
    rows = []
    for concurrency, group in samples.items():
        for sample in group:
            head = (concurrency, sample.repetition, sample.event, sample.client)
            status = "failed" if sample.error else "ok"
            tail = (status, sample.error, sample.labels_sha256)
            rows.append((*head, "event", "total", sample.start_ns, sample.duration_ns, *tail))
            rows += [(*head, *lap, status, "", "") for lap in parts_of(sample, requests)]
    columns = [
        *("concurrency", "repetition", "event", "client", "stage", "part"),
        *("start_ns", "duration_ns", "status", "error", "labels_sha256"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "option", option)
    table.insert(1, "round", round_number)
    return table.merge(sizes[["event", *SIZES]], on="event", how="left", validate="many_to_one")
