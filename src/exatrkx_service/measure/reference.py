"""The pipeline in one process: the tracks that every option must give, their truth and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.events.event import Event
from exatrkx_service.measure.load import hash_labels
from exatrkx_service.measure.lock import only_measurement
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.labeling import CUT_KEYS
from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.pipeline.stages import StageError
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.tracking import Method, found_edges, to_tracks


def run_reference(
    events: Sequence[Event],
    model_repository: Path,
    parameters: Mapping[str, Any],
    say: Callable[[str], None] = print,
) -> tuple[pd.DataFrame, Method]:
    """Runs the pipeline on every event, in this process, and then times it on every event.

    The first pass gives the results and warms up: TorchScript has seen every size, and nothing but
    the pipeline runs in the second pass, which is timed.

    Args:
        events: the sample, with truth; at least one event.
        model_repository: folder that holds the exported networks.
        parameters: the ``pipeline`` section of the configuration, see ``identity.with_networks``.
        say: gets one line if another measurement has to be waited for.

    Returns:
        One row per event (event, n_space_points, n_edges_built, n_edges_filtered, n_tracks,
        labels_sha256); and the results as those of a track finder whose steps are the stages.

    Raises:
        ModelFileError: a network is missing or is no TorchScript.
        StageError: a network failed on an event; names both.
    """
    devices.settle(parameters["threads"])
    pipeline = local_pipeline(model_repository, parameters)
    cut = labeling_cut(parameters)
    sizes, tracks, edges, times = [], [], [], []
    for event in events:
        try:
            tensors = pipeline(event.space_points)
        except StageError as error:
            raise StageError(f"{error}, in event {event.event_id}") from error
        sizes.append(
            {
                "event": event.event_id,
                "n_space_points": len(event),
                "n_edges_built": tensors["edges"].shape[1],
                "n_edges_filtered": tensors["filtered_edges"].shape[1],
                "n_tracks": len(np.unique(tensors["labels"][tensors["labels"] >= 0])),
                "labels_sha256": hash_labels(tensors["labels"]),
            }
        )
        tracks.append(to_tracks(tensors["labels"], event.event_id))
        edges.append(found_edges(event, tensors, cut))
    with only_measurement("the pipeline in one process", say):
        for event in events:
            watch = Stopwatch()
            pipeline(event.space_points, watch)
            times += [(event.event_id, lap.stage, lap.duration_ns) for lap in watch.laps]
    method = Method(
        pd.concat(tracks, ignore_index=True),
        pd.DataFrame(times, columns=["event", "step", "duration_ns"]),
        pd.concat(edges, ignore_index=True),
    )
    return pd.DataFrame(sizes), method


def labeling_cut(parameters: Mapping[str, Any]) -> float:
    """The GNN score below which the labeling ignores an edge."""
    return parameters[CUT_KEYS[parameters["labeling"]]]
