"""The pipeline in one process: the tracks that every option must give, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from exatrkx_service.analysis.physics import tracking_performance
from exatrkx_service.events.reader import read_event
from exatrkx_service.measure.load import hash_labels
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.labeling import CUT_KEYS
from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.pipeline.stopwatch import Stopwatch

N_WARM_UP = 3  # TorchScript optimises itself in its first calls


def run_reference(
    events: Mapping[int, Path], model_repository: Path, parameters: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any], pd.Series]:
    """Runs the pipeline on every event, in this process.

    Args:
        events: folder of each event, by its number.
        model_repository: folder that holds the exported networks.
        parameters: the ``pipeline`` section of the configuration.

    Returns:
        One row per event (event, n_space_points, n_edges_built, n_edges_filtered,
        labels_sha256); the tracking performance, see ``analysis.physics``; and the mean time of
        each stage [ms].
    """
    devices.settle(parameters["threads"])
    pipeline = local_pipeline(model_repository, parameters)
    rows, found, laps = [], [], []
    for number, folder in events.items():
        event = read_event(folder, number)
        for _ in range(0 if rows else N_WARM_UP):
            pipeline(event.space_points)
        watch = Stopwatch()
        tensors = pipeline(event.space_points, watch)
        laps += watch.laps
        rows.append(
            {
                "event": number,
                "n_space_points": len(event),
                "n_edges_built": tensors["edges"].shape[1],
                "n_edges_filtered": tensors["filtered_edges"].shape[1],
                "labels_sha256": hash_labels(tensors["labels"]),
            }
        )
        found.append((event, tensors))
    stage_ms = pd.DataFrame(laps).groupby("stage", sort=False).duration_ns.mean() / 1e6
    cut = parameters[CUT_KEYS[parameters["labeling"]]]
    return pd.DataFrame(rows), tracking_performance(found, cut), stage_ms
