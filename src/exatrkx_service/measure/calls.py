"""Requests to one model, one after the other: what the driver costs, without a pipeline around it.

It is measured at the model that computes nothing, in every job with a server, and against another
driver, see ``agreement``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from exatrkx_service.client.remote import Client, RemoteStep
from exatrkx_service.options import NULL
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.pipeline.tensors import NULL_SPEC


@dataclass(frozen=True)
class Calls:
    """Requests of several clients to one model.

    Attributes:
        model: name of the Triton model.
        inputs: names of the tensors that it takes.
        output: name of the tensor that it gives.
        tensors: the inputs of each request, by name.
        orders: per client, which of them it sends, in their order.
    """

    model: str
    inputs: tuple[str, ...]
    output: str
    tensors: Sequence[Mapping[str, np.ndarray]]
    orders: Sequence[Sequence[int]]


def send_calls(client: int, calls: Calls, tag: str, connection: Client) -> np.ndarray:
    """One client's part: each request is sent when the one before is answered.

    Args:
        client: its number.
        calls: what to send.
        tag: beginning of the request ids.
        connection: of this client.

    Returns:
        int64 (n, 2): start and end of each request [ns], monotonic clock; as those of an event,
        they enclose the making of the message and the reading of the answer.

    Raises:
        InferenceServerException: a request failed.
    """
    step = RemoteStep(connection, calls.model, calls.model, calls.inputs, calls.output)
    times = []
    for number, which in enumerate(calls.orders[client]):
        tensors, watch = dict(calls.tensors[which]), Stopwatch()
        step(tensors, watch, f"{tag}/{client}/{number}")
        times.append((watch.start_ns, watch.now_ns))
    return np.array(times, dtype=np.int64).reshape(-1, 2)


class Figures(NamedTuple):
    """What a driver says of a model."""

    p50_ms: float
    p95_ms: float
    rate: float  # finished requests per second; NaN where too few were sent


def figures(times: Sequence[np.ndarray]) -> Figures:
    """Latencies of all requests, and the rate while all clients were at work.

    The rate is that between the first and the last end of a request, of those that ended after the
    last client had begun and before the first one had nothing left to send.

    Args:
        times: per client, see ``send_calls``, one request at least; any clock, the same for all.
    """
    latencies = np.concatenate([np.diff(own).ravel() for own in times]) / 1e6
    begin, end = max(own[0, 0] for own in times), min(own[-1, 1] for own in times)
    ends = np.concatenate([own[:, 1] for own in times])
    ends = np.sort(ends[(ends >= begin) & (ends <= end)])
    seconds = (ends[-1] - ends[0]) / 1e9 if len(ends) > 1 else 0
    rate = (len(ends) - 1) / seconds if seconds else np.nan
    p50, p95 = np.quantile(latencies, (0.5, 0.95))
    return Figures(float(p50), float(p95), float(rate))


def null_tensors(n_input: int, n_output: int) -> dict[str, np.ndarray]:
    """The inputs of a request to the model that computes nothing.

    Args:
        n_input: size of what it is sent [bytes].
        n_output: size of what it gives back [bytes].
    """
    item = np.dtype(np.float32).itemsize
    return {
        "payload": np.zeros(n_input // item, np.float32),
        "answer_size": np.array([n_output // item], np.int64),
    }


def null_calls(n_input: int, n_output: int, clients: int, count: int) -> Calls:
    """``count`` requests of each client to the model that computes nothing; see above."""
    tensors = [null_tensors(n_input, n_output)]
    return Calls(NULL, NULL_SPEC.inputs, NULL_SPEC.output, tensors, [[0] * count] * clients)
