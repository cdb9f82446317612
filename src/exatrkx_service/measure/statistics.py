"""What a Triton server says of itself: its models' settings, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.server import Server

# Parts of a request; an answer from the cache has none of the others but ``queue``.
PARTS = ("queue", "compute_input", "compute_infer", "compute_output", "cache_hit")
EXECUTIONS = "executions"  # of a model's computing: fewer than requests where they are joined
Counts = dict[str, dict[str, tuple[int, int]]]
T = TypeVar("T")
N_READINGS = 20  # at most, for somebody else may use the server too
PAUSE_S = 0.05


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
            part: _count(entry["inference_stats"], part) for part in (*PARTS, "success", "fail")
        }
        | {EXECUTIONS: (int(entry.get("execution_count", 0)), 0)}
        for model, entry in _statistics(server, models).items()
    }


def _count(entry: dict[str, Any], part: str) -> tuple[int, int]:
    """Number and time [ns]; what is 0 is left out over gRPC."""
    counted = entry.get(part, {})
    return int(counted.get("count", 0)), int(counted.get("ns", 0))


def count_done(server: Server, models: Collection[str]) -> dict[str, int]:
    """How many requests of each model the server has finished, one way or the other.

    Raises:
        StatisticsError: the server does not say.
    """
    statistics = _statistics(server, models)
    return {
        model: sum(_count(entry["inference_stats"], part)[0] for part in ("success", "fail"))
        for model, entry in statistics.items()
    }


def _statistics(server: Server, models: Collection[str]) -> dict[str, Any]:
    try:
        with server.inquiry() as asked:
            return {
                model: {"inference_stats": {}}
                | asked.ask("get_inference_statistics", *_which(server, model))["model_stats"][0]
                for model in models
            }
    except (ServerError, LookupError) as error:
        raise StatisticsError(f"the server gives no statistics: {error}") from None


def _which(server: Server, model: str) -> tuple[str, ...]:
    """A model's name, with its version where one was asked for."""
    versions = {server.model.name: server.model.version} if server.model else {}
    return (model, versions[model]) if versions.get(model) else (model,)


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
                EXECUTIONS: differences[EXECUTIONS][0],
                **means,
            }
        )
    return rows


def describe_models(server: Server, models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The models' settings as the server says them, whoever started it.

    Returns:
        By model ``backend`` (or ``ensemble``), ``instances`` (over all its groups), ``device``
        (``cpu``, ``cuda``, or None where the server does not tell), ``threads`` (intra-op; None
        where it is not set), ``response_cache`` (bool) and ``dynamic_batching`` (bool). The steps
        of an ensemble are among them.

    Raises:
        StatisticsError: the server does not say.
    """
    described: dict[str, dict[str, Any]] = {}
    left = list(models)
    try:
        with server.inquiry() as asked:
            while left:
                model = left.pop(0)
                config = asked.ask("get_model_config", *_which(server, model))
                config = config.get("config", config)  # gRPC wraps it
                described[model] = _describe(config)
                steps = config.get("ensemble_scheduling", {}).get("step", ())
                left += [name for step in steps if (name := step["model_name"]) not in described]
    except ServerError as error:
        raise StatisticsError(f"the server does not tell its models' settings: {error}") from None
    return described


def _describe(config: dict[str, Any]) -> dict[str, Any]:
    ensemble = "ensemble_scheduling" in config
    groups = config.get("instance_group", ())
    devices = {"KIND_CPU": "cpu", "KIND_GPU": "cuda"}
    kinds = {devices.get(group.get("kind")) for group in groups}
    parameters = {
        key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()
    }
    threads = parameters.get("INTRA_OP_THREAD_COUNT", parameters.get("threads", ""))
    device = kinds.pop() if len(kinds) == 1 else None
    return {
        "backend": "ensemble" if ensemble else config.get("backend", ""),
        "instances": None if ensemble else sum(_instances(group) for group in groups),
        "device": parameters.get("device", device),
        "threads": int(threads) if threads.isdigit() else None,
        "response_cache": bool(config.get("response_cache", {}).get("enable")),
        "dynamic_batching": "dynamic_batching" in config,
    }


def _instances(group: dict[str, Any]) -> int:
    # A group is on each GPU that it names.
    return group.get("count", 0) * max(1, len(group.get("gpus", ())))
