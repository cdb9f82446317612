"""What a Triton server counts by itself, for one whose trace can't be had: means, not requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import tritonclient.grpc as grpcclient

from exatrkx_service.serving.server import Server, token_headers

PARTS = ("queue", "compute_input", "compute_infer", "compute_output")
Counts = dict[str, dict[str, tuple[int, int]]]
N_READINGS = 20  # at most, for somebody else may use the server too
PAUSE_S = 0.05


def read_counts(server: Server, models: Sequence[str]) -> Counts:
    """Number of requests and time [ns] of each model's parts, since the server's start.

    Triton counts a request after it has answered it, so this reads until two readings agree.
    """
    counts = _read(server, models)
    for _ in range(N_READINGS):
        time.sleep(PAUSE_S)
        previous, counts = counts, _read(server, models)
        if counts == previous:
            break
    return counts


def _read(server: Server, models: Sequence[str]) -> Counts:
    counts: Counts = {}
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        for model in models:
            answer = client.get_inference_statistics(
                model, headers=token_headers("grpc", server.token)
            )
            inference = answer.model_stats[0].inference_stats
            parts = {part: getattr(inference, part) for part in PARTS}
            counts[model] = {part: (value.count, value.ns) for part, value in parts.items()}
    return counts


def means_between(before: Counts, after: Counts, concurrency: int) -> list[dict[str, Any]]:
    """Mean time of each model's parts between two readings, one entry per model that was asked."""
    rows = []
    for model, parts in after.items():
        count = parts["queue"][0] - before[model]["queue"][0]
        if count:
            means = {
                f"{part}_ms": (ns - before[model][part][1]) / count / 1e6
                for part, (_, ns) in parts.items()
            }
            rows.append({"concurrency": concurrency, "model": model, "requests": count, **means})
    return rows
