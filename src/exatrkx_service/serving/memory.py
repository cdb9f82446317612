"""Shared memory of the served Python models: is there enough for the largest event?

Triton's Python backend hands tensors to a model's process through /dev/shm. A container has 64 MiB
there by default; what does not fit fails, so that the small events alone would be measured.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from exatrkx_service.options import ENSEMBLE, FUSED, NULL
from exatrkx_service.pipeline.tensors import SPECS
from exatrkx_service.serving.guard import SHARED_MEMORY
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.repository import instances_of

POOL = 2**20  # what each instance takes at first, and grows by [bytes]
WIDTH = 16  # columns of an embedding, about: it is small beside the edges


def tensor_bytes(n_space_points: int, n_edges_built: int, n_edges_filtered: int) -> dict[str, int]:
    """Size of each tensor of an event [bytes], see ``pipeline.tensors``."""
    return {
        "space_points": 12 * n_space_points,
        "embedding": 4 * WIDTH * n_space_points,
        "edges": 8 * n_edges_built,
        "filtered_edges": 8 * n_edges_filtered,
        "edge_scores": 4 * n_edges_filtered,
        "labels": 8 * n_space_points,
    }


def needed_bytes(
    models: Sequence[str], instances: int | Mapping[str, int], tensors: Mapping[str, int]
) -> int:
    """Shared memory that the models need while each instance serves an event [bytes].

    Args:
        models: names of the served models, Python models all.
        instances: of them, see ``repository.instances_of``.
        tensors: sizes of the largest event's.
    """
    total = 0
    for model in set(models) - {ENSEMBLE}:
        spec = SPECS.get(model)
        names = (*spec.inputs, spec.output) if spec else ("space_points", "labels")
        assert spec or model in (FUSED, NULL), model
        # Pools grow by whole steps, and inputs and outputs lie in them at the same time.
        pools = 1 + -(-sum(tensors[name] for name in names) // POOL)
        total += POOL * pools * instances_of(model, instances)
    return total


def check_room(
    models: Sequence[str],
    instances: int | Mapping[str, int],
    tensors: Mapping[str, int],
    folder: Path = SHARED_MEMORY,
) -> None:
    """Raises ServerError if the shared memory has too little room for the largest event."""
    needed = needed_bytes(models, instances, tensors)
    file_system = os.statvfs(folder)
    free = file_system.f_bavail * file_system.f_frsize
    if free < needed:
        raise ServerError(
            f"{folder} has {free / 2**20:.0f} MiB free, the models {', '.join(models)} need about "
            f"{needed / 2**20:.0f} MiB for the largest event with server.instances = {instances}; "
            "give it more (of a container: --shm-size, --ipc=host), or free some"
        )
