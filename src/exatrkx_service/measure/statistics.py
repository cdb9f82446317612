"""What a Triton server says of itself: its models' settings, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import tritonclient.grpc as grpcclient
from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup
from tritonclient.utils import InferenceServerException

from exatrkx_service.serving.server import CHANNEL, Server, token_headers

# Parts of a request; an answer from the cache has none of the others but ``queue``.
PARTS = ("queue", "compute_input", "compute_infer", "compute_output", "cache_hit")
Counts = dict[str, dict[str, tuple[int, int]]]
T = TypeVar("T")
N_READINGS = 20  # at most, for somebody else may use the server too
PAUSE_S = 0.05
TIMEOUT_S = 10


class StatisticsError(RuntimeError):
    """The server does not say."""


def read_counts(server: Server, models: Sequence[str]) -> Counts:
    """Number of requests and time [ns] of each model's parts, since the server's start.

    Raises:
        StatisticsError: the server does not say.
    """
    return settled(lambda: _read(server, models))


def settled(read: Callable[[], T]) -> T:
    """What ``read`` gives twice in a row: Triton counts a request after it has answered it."""
    counts = read()
    for _ in range(N_READINGS):
        time.sleep(PAUSE_S)
        previous, counts = counts, read()
        if counts == previous:
            break
    return counts


def _read(server: Server, models: Collection[str]) -> Counts:
    return {
        model: {
            part: (getattr(entry, part).count, getattr(entry, part).ns)
            for part in (*PARTS, "success", "fail")
        }
        for model, entry in _statistics(server, models).items()
    }


def count_done(server: Server, models: Collection[str]) -> dict[str, int]:
    """How many requests of each model the server has finished, one way or the other.

    Raises:
        StatisticsError: the server does not say.
    """
    statistics = _statistics(server, models)
    return {model: entry.success.count + entry.fail.count for model, entry in statistics.items()}


def _statistics(server: Server, models: Collection[str]) -> dict[str, Any]:
    headers = token_headers("grpc", server.token)
    try:
        with grpcclient.InferenceServerClient(server.grpc_url, channel_args=CHANNEL) as client:
            return {
                model: client.get_inference_statistics(
                    model, headers=headers, client_timeout=TIMEOUT_S
                )
                .model_stats[0]
                .inference_stats
                for model in models
            }
    except InferenceServerException as error:
        raise StatisticsError(
            f"the server at {server.grpc_url} gives no statistics: {error.message()}"
        ) from None


def means_between(before: Counts, after: Counts, concurrency: int) -> list[dict[str, Any]]:
    """Mean time of each model's parts between two readings, one entry per model that was asked.

    Each part has its own count: an answer from the server's response cache has a ``cache_hit`` and
    no computing. An ensemble's ``queue`` leaves out those of its steps.
    """
    rows = []
    for model, parts in after.items():
        differences = {
            part: (count - before[model][part][0], ns - before[model][part][1])
            for part, (count, ns) in parts.items()
        }
        requests = differences["success"][0]
        if not requests:
            continue
        means = {
            f"{part}_ms": differences[part][1] / differences[part][0] / 1e6
            for part in PARTS
            if differences[part][0]
        }
        rows.append(
            {
                "concurrency": concurrency,
                "model": model,
                "requests": requests,
                "failed": differences["fail"][0],
                "cache_hits": differences["cache_hit"][0],
                **means,
            }
        )
    return rows


def describe_models(server: Server, models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The models' settings as the server says them, whoever started it.

    Returns:
        By model ``backend`` (or ``ensemble``), ``instances`` (over all its groups), ``device``
        (``cpu``, ``cuda``, or None where the server does not tell), ``threads`` (intra-op; None
        where it is not set), ``response_cache`` (bool) and ``dynamic_batching`` (bool).

    Raises:
        StatisticsError: the server does not say.
    """
    headers = token_headers("grpc", server.token)
    described = {}
    try:
        with grpcclient.InferenceServerClient(server.grpc_url, channel_args=CHANNEL) as client:
            for model in models:
                config = client.get_model_config(
                    model, headers=headers, client_timeout=TIMEOUT_S
                ).config
                described[model] = _describe(config)
    except InferenceServerException as error:
        raise StatisticsError(
            f"the server at {server.grpc_url} does not tell its models' settings: {error.message()}"
        ) from None
    return described


def _describe(config: Any) -> dict[str, Any]:
    ensemble = config.HasField("ensemble_scheduling")
    devices = {ModelInstanceGroup.KIND_CPU: "cpu", ModelInstanceGroup.KIND_GPU: "cuda"}
    kinds = {devices.get(group.kind) for group in config.instance_group}
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    threads = parameters.get("INTRA_OP_THREAD_COUNT", parameters.get("threads", ""))
    device = kinds.pop() if len(kinds) == 1 else None
    return {
        "backend": "ensemble" if ensemble else config.backend,
        "instances": None if ensemble else sum(_count(group) for group in config.instance_group),
        "device": parameters.get("device", device),
        "threads": int(threads) if threads.isdigit() else None,
        "response_cache": config.response_cache.enable,
        "dynamic_batching": config.HasField("dynamic_batching"),
    }


def _count(group: Any) -> int:
    # A group is on each GPU that it names.
    return group.count * max(1, len(group.gpus))
