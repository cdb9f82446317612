"""The floor: what a job's own clients cost at a model that computes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tenacity
import tritonclient.grpc as grpcclient

from exatrkx_service.client.remote import RemoteStep
from exatrkx_service.measure.calls import figures, null_calls
from exatrkx_service.measure.clients import Crew
from exatrkx_service.options import NULL
from exatrkx_service.serving.journal import WARMUP
from exatrkx_service.serving.server import CHANNEL, Server, token_headers

FIRST = 20  # requests of each client before those that are timed
SECONDS = 1.0  # what is timed takes about so long
UNLOAD_S = 10  # how long the model may take to end


@contextlib.contextmanager
def null_model(server: Server) -> Iterator[bool]:
    """Loads the model that computes nothing, on a server of ours, for as long as the block lasts.

    Afterwards its process is gone, so it takes no memory beside the models that are measured.

    Yields:
        Whether it is there; on somebody else's server nothing is loaded or unloaded.
    """
    headers = token_headers("grpc", server.token)
    with grpcclient.InferenceServerClient(server.grpc_url, channel_args=CHANNEL) as client:
        if server.process is None:
            yield client.is_model_ready(NULL, headers=headers)
            return
        client.load_model(NULL, headers=headers)
        yield True
        client.unload_model(NULL, headers=headers)

        @tenacity.retry(
            retry=tenacity.retry_if_result(bool),
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_delay(UNLOAD_S),
        )
        def still_there() -> bool:
            models = client.get_model_repository_index(headers=headers).models
            return any(m.name == NULL and m.state in ("READY", "UNLOADING") for m in models)

        still_there()


def measure_floor(
    crew: Crew,
    steps: Iterable[Any],
    tensors: Mapping[str, int],
    counts: Iterable[int],
    check: Callable[[], None],
) -> list[dict[str, Any]]:
    """Times requests with the payloads of an option's requests; the model must be loaded.

    Args:
        crew: the job's clients.
        steps: of the option's pipeline; those on the server count.
        tensors: size of each tensor of a typical event [bytes], see ``memory.tensor_bytes``.
        counts: numbers of clients.
        check: see ``Crew.turn``.

    Returns:
        Per served stage and number of clients: ``stage``, ``clients``, ``input_bytes``,
        ``output_bytes``, ``p50_ms`` and ``rate_evt_s``, requests finished per second.
    """
    rows = []
    for step in steps:
        if not isinstance(step, RemoteStep):
            continue
        sent, received = sum(tensors[name] for name in step.inputs), tensors[step.output]
        for count in counts:
            first = null_calls(sent, received, count, FIRST)
            tag = f"driver/{step.name}/{count}"
            rate = figures(crew.call(count, first, WARMUP + tag, check)).rate
            timed = null_calls(sent, received, count, max(FIRST, round(rate * SECONDS / count)))
            found = figures(crew.call(count, timed, tag, check))
            rows.append(
                {
                    "stage": step.name,
                    "clients": count,
                    "input_bytes": sent,
                    "output_bytes": received,
                    "p50_ms": round(found.p50_ms, 4),
                    "rate_evt_s": round(found.rate, 1),
                }
            )
    return rows
