"""The trace of somebody else's server: asked for while its model is measured, and read afterwards.

Triton's trace extension lets a client switch tracing on for one model; its file was named when the
server was started, and is written when the settings change. So it can be read where that file is
seen from here: on the same machine, or on a file system that both share.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exatrkx_service.client.remote import REQUEST
from exatrkx_service.measure.load import Sample
from exatrkx_service.measure.trace import Request, TraceError, parse_trace
from exatrkx_service.options import MODEL
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.inquiry import Inquiry
from exatrkx_service.serving.server import Server

PAUSE_S = 0.5  # the server notes the end of a request after it has answered it
_ON = {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_count": "-1", "log_frequency": "0"}


@dataclass
class TheirTrace:
    """What came of it.

    Attributes:
        requests: by the ids that the clients gave them; None if the trace can't be had.
        reason: why it can't.
    """

    requests: dict[str, Request] | None = None
    reason: str = ""


@contextlib.contextmanager
def traced(server: Server) -> Iterator[TheirTrace]:
    """Lets the server trace the requests to its model for as long as the block lasts.

    Whatever goes wrong with that is the ``reason`` of what is given, complete after the block.
    """
    trace, model = TheirTrace(), server.model.name
    try:
        with server.inquiry() as asked:
            everywhere, before = _settings(asked), _settings(asked, model)
            path = Path(before.get("trace_file") or "")
            if not path.name or not path.parent.is_dir():
                raise ServerError("its file is not seen from here" if path.name else "it has none")
            size = path.stat().st_size if path.exists() else 0
            asked.ask("update_trace_settings", model, _ON)
    except (ServerError, OSError) as error:
        yield replace(trace, reason=str(error))
        return
    # What was set for this model alone is set again; otherwise it follows the others again.
    back = {key: None if before.get(key) == everywhere.get(key) else before[key] for key in _ON}
    try:
        yield trace
    finally:
        time.sleep(PAUSE_S)
        try:
            with server.inquiry() as asked:
                asked.ask("update_trace_settings", model, back)
            with path.open() as file:
                file.seek(size)
                trace.requests = parse_trace(file.read(), str(path))
        except (ServerError, TraceError, OSError) as error:
            trace.reason = str(error)


def _settings(asked: Inquiry, *model: str) -> dict[str, Any]:
    found = asked.ask("get_trace_settings", *model)
    found = found.get("settings", found)  # gRPC wraps all of them, and each
    plain = {k: v.get("value", "") if isinstance(v, Mapping) else v for k, v in found.items()}
    return {k: v[0] if isinstance(v, list) and k != "trace_level" else v for k, v in plain.items()}


def as_one(request: Request) -> Request:
    """The request, with the steps of an ensemble booked under one stage, as what they are of."""
    return Request(MODEL, request.stamps, [as_one(step) for step in request.steps])


def is_on_the_clients_clock(samples: Iterable[Sample], requests: Mapping[str, Request]) -> bool:
    """Whether the server took each request while its client waited for it."""
    for sample in samples:
        for lap in sample.laps:
            request = requests.get(f"{sample.request_id}/{lap.stage}")
            if lap.part == REQUEST and request is not None:
                start_ns = request.start_ns or 0
                if not lap.start_ns <= start_ns <= lap.start_ns + lap.duration_ns:
                    return False
    return True


def divided(trace: TheirTrace, tidy: Callable[..., Any], samples: Iterable[Sample]) -> Any:
    """The rows of a job, its requests divided by the server's trace if there is one that fits.

    Args:
        trace: see ``traced``; gets the reason if it does not fit.
        tidy: makes the rows, see ``rows.tidy``, of ``requests``, ``same_clock`` and ``native``.
        samples: of the option.
    """
    if trace.requests:
        requests = {name: as_one(request) for name, request in trace.requests.items()}
        same_clock = is_on_the_clients_clock(samples, requests)
        try:
            return tidy(requests=requests, same_clock=same_clock, native=(MODEL,))
        except TraceError as error:
            trace.reason = str(error)
    elif not trace.reason:
        trace.reason = "it has none of the requests"
    return tidy(requests=None)
