"""The tracks that every option must give, and the sizes of the events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from exatrkx_service.analysis.physics import tracking_performance
from exatrkx_service.events.reader import read_event
from exatrkx_service.measure.load import hash_labels
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.pipeline import local_pipeline


def run_reference(
    events: Mapping[int, Path], model_repository: Path, parameters: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Runs the pipeline on every event, in this process.

    Args:
        events: folder of each event, by its number.
        model_repository: folder that holds the exported networks.
        parameters: the ``pipeline`` section of the configuration.

    Returns:
        One row per event (event, n_space_points, n_edges_built, n_edges_filtered,
        labels_sha256), and the tracking performance, see ``analysis.physics``.
    """
    devices.limit_threads(parameters["threads"])
    pipeline = local_pipeline(model_repository, parameters)
    rows, found = [], []
    for number, folder in events.items():
        event = read_event(folder, number)
        tensors = pipeline(event.space_points)
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
    return pd.DataFrame(rows), tracking_performance(found, parameters["gnn_cut"])
