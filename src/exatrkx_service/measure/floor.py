"""The floor: what a job's clients cost at a model that computes nothing.

It has a server of its own, for at such a rate Triton's Python backend ends now and then, and the
job's server would take its trace with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import RemoteStep
from exatrkx_service.measure.calls import figures, null_calls
from exatrkx_service.measure.clients import Crew, Task, clients
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.server import Server

FIRST = 20  # requests of each client before those that are timed


def measure_floor(
    server: Server,
    plan: Mapping[str, Any],
    task: Task,
    steps: Iterable[Any],
    tensors: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Times requests with the payloads of an option's requests, with one client and the most.

    Each for about twice ``measure.block_s``.

    Args:
        server: with the model that computes nothing.
        plan: the ``measure`` section of the configuration.
        task: for clients of the server, without an option.
        steps: of the option's pipeline; those on the server count.
        tensors: size of each tensor of a typical event [bytes], see ``memory.tensor_bytes``.

    Returns:
        Per served stage and number of clients: ``stage``, ``clients``, ``input_bytes``,
        ``output_bytes``, ``p50_ms`` and ``rate_evt_s``, requests finished per second; None
        where the clients did not meet.

    Raises:
        ServerError: the server died, or a request failed.
        ClientError: a client ended.
    """
    counts = sorted({1, max(plan["concurrency"])})
    try:
        with clients(plan["clients"], counts[-1], task, {}) as crew:
            crew.ready(server.check_alive)
            return _rows(crew, steps, tensors, counts, 2 * plan["block_s"], server.check_alive)
    except InferenceServerException as error:
        server.check_alive(wait_s=10)
        raise ServerError(f"the model that computes nothing: {error.message()}") from error


def _rows(
    crew: Crew,
    steps: Iterable[Any],
    tensors: Mapping[str, int],
    counts: Iterable[int],
    seconds: float,
    check: Callable[[], None],
) -> list[dict[str, Any]]:
    rows = []
    for step in steps:
        if not isinstance(step, RemoteStep):
            continue
        sent, received = sum(tensors[name] for name in step.inputs), tensors[step.output]
        for count in counts:
            first = null_calls(sent, received, count, FIRST)
            tag = f"driver/{step.name}/{count}"
            # Not by the rate: few requests may be over before the last client begins.
            p50_ms = figures(crew.call(count, first, f"warmup/{tag}", check)).p50_ms
            timed = null_calls(sent, received, count, max(FIRST, round(1e3 * seconds / p50_ms)))
            found = figures(crew.call(count, timed, tag, check))
            rows.append(
                {
                    "stage": step.name,
                    "clients": count,
                    "input_bytes": sent,
                    "output_bytes": received,
                    "p50_ms": round(found.p50_ms, 4),
                    "rate_evt_s": round(found.rate, 1) if found.rate == found.rate else None,
                }
            )
    return rows
