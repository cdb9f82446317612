"""Tracks by ACTS: triplet seeds, combinatorial Kalman filter (CKF), greedy ambiguity resolution.

It starts from the measurements of the events that are there, as the CSV files hold them, and knows
no truth. Source: ACTS, Comput. Softw. Big Sci. 6, 8 (2022),
https://doi.org/10.1007/s41781-021-00078-8.
"""

from __future__ import annotations

import time
from pathlib import Path

import acts
import acts.examples as examples
import numpy as np
import pandas as pd

from exatrkx_service.baseline.measurements import (
    MeasurementSource,
    MeasurementSubsetMaker,
    require_on_detector,
)
from exatrkx_service.baseline.settings import LARGE_RADIUS, CkfSettings
from exatrkx_service.events.detector import (
    FIELD_TESLA,
    SENSITIVE_VOLUMES,
    generic_detector,
    magnetic_field,
    make_sequencer,
)
from exatrkx_service.events.event import Measurements
from exatrkx_service.events.files import event_range
from exatrkx_service.events.reader import read_measurements
from exatrkx_service.pipeline.device import settle

# What starts from space points and ends with tracks, as the pipeline of networks does.
STEPS = ("seeding", "finding", "ambiguity")
TRACK_COLUMNS = ("event", "track", "space_point")
TIME_COLUMNS = ("event", "step", "duration_ns")
N_WARM_UP = 10  # events that are run once more before, and not counted
_LEVEL = acts.logging.ERROR


def find_tracks(
    folder: Path, first_event: int, n_events: int, settings: CkfSettings = LARGE_RADIUS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Finds the tracks of events ``first_event`` to ``first_event + n_events - 1``, on one core.

    A step's time is that of its ACTS algorithms, one event after the other on one thread:
    ``seeding`` makes triplets of space points and estimates their track parameters; ``finding`` is
    the CKF; ``ambiguity`` drops tracks that share measurements with better ones. Reading and
    writing files, and making space points from measurements, is in no step: the pipeline of
    networks, which this is compared with, starts from space points as well.

    Args:
        folder: sample folder.
        first_event: number of the first event.
        n_events: number of events.
        settings: cuts of the algorithms.

    Returns:
        Tracks: event, track (from 0 in each event) and space_point (row in the event's space
        points), all int64, one row per space point of a track. The space points are those made
        from the measurements that the track was fitted to, without its outliers. With the
        settings ``LARGE_RADIUS`` a space point is in one track at most.

        Times: event (int64), step (str, of ``STEPS``) and duration_ns (int64).

    Raises:
        EventFormatError: the measurements or space points of an event are missing or malformed,
            or are not of this detector.
        ValueError: the range of events is empty or starts below 0.
    """
    event_ids = event_range(first_event, n_events)
    folder = Path(folder)
    events = {event: read_measurements(folder, event) for event in event_ids}
    for event, measurements in events.items():
        require_on_detector(folder, event, measurements)
    settle(threads=1)
    _run(events, first_event, min(n_events, N_WARM_UP), settings)
    found, stamps = _run(events, first_event, n_events, settings)
    rows = [
        (event, number, point)
        for event, tracks in found.items()
        for number, track in enumerate(tracks)
        for point in np.flatnonzero(np.isin(events[event].clusters, track).any(axis=1))
    ]
    tracks = pd.DataFrame(rows, columns=[*TRACK_COLUMNS], dtype=np.int64)
    return tracks, _durations(stamps)


def _run(
    events: dict[int, Measurements], first_event: int, n_events: int, settings: CkfSettings
) -> tuple[dict[int, list[list[int]]], list[tuple[int, str, int]]]:
    """Runs ACTS: measurements of each track of each event, and the stamps of the stopwatch."""
    sequencer = make_sequencer(first_event, n_events, threads=1, level=_LEVEL)
    stamps: list[tuple[int, str, int]] = []
    before, *steps = _algorithms(settings)
    source = (MeasurementSource(events), MeasurementSubsetMaker())
    for algorithm in (*source, *before, _Stopwatch("start", stamps)):
        sequencer.addAlgorithm(algorithm)
    for step, algorithms in zip(STEPS, steps, strict=True):
        for algorithm in algorithms:
            sequencer.addAlgorithm(algorithm)
        sequencer.addAlgorithm(_Stopwatch(step, stamps))
    collector = _TrackCollector()
    sequencer.addAlgorithm(collector)
    sequencer.run()
    return collector.found, stamps


def _algorithms(settings: CkfSettings) -> list[list[examples.IAlgorithm]]:
    """The ACTS algorithms that make space points, then those of each step of ``STEPS``."""
    geometry = generic_detector().trackingGeometry()
    field = magnetic_field()
    space_points = examples.SpacePointMaker(
        level=_LEVEL,
        trackingGeometry=geometry,
        inputMeasurements="measurement_subset",
        outputSpacePoints="spacepoints",
        geometrySelection=[acts.GeometryIdentifier(volume=volume) for volume in SENSITIVE_VOLUMES],
    )
    seeds = examples.GridTripletSeedingAlgorithm(
        level=_LEVEL,
        inputSpacePoints="spacepoints",
        outputSeeds="seeds",
        bFieldInZ=FIELD_TESLA * acts.UnitConstants.T,
        **settings.seeding(),
    )
    parameters = examples.TrackParamsEstimationAlgorithm(
        level=_LEVEL,
        inputSeeds="seeds",
        outputTrackParameters="estimated_parameters",
        outputSeeds="estimated_seeds",
        trackingGeometry=geometry,
        magneticField=field,
    )
    finding = examples.TrackFindingAlgorithm(
        level=acts.logging.FATAL,  # a track whose fit fails is dropped, and no error
        inputMeasurements="measurement_subset",
        inputInitialTrackParameters="estimated_parameters",
        inputSeeds="estimated_seeds",
        outputTracks="found_tracks",
        trackingGeometry=geometry,
        magneticField=field,
        findTracks=examples.TrackFindingAlgorithm.makeTrackFinderFunction(geometry, field, _LEVEL),
        **settings.finding(),
    )
    ambiguity = examples.GreedyAmbiguityResolutionAlgorithm(
        level=_LEVEL,
        inputTracks="found_tracks",
        outputTracks="tracks",
        **settings.ambiguity(),
    )
    return [[space_points], [seeds, parameters], [finding], [ambiguity]]


class _Stopwatch(examples.IAlgorithm):
    """Stamps the moment at which a step of an event has ended."""

    def __init__(self, step: str, stamps: list[tuple[int, str, int]]) -> None:
        super().__init__(f"Stopwatch_{step}", _LEVEL)
        self._step, self._stamps = step, stamps

    def execute(self, context: examples.AlgorithmContext) -> examples.ProcessCode:
        self._stamps.append((context.eventNumber, self._step, time.perf_counter_ns()))
        return examples.ProcessCode.SUCCESS


class _TrackCollector(examples.IAlgorithm):
    """Keeps the measurements of the tracks."""

    def __init__(self) -> None:
        super().__init__("TrackCollector", _LEVEL)
        self._tracks = examples.ReadDataHandle(self, examples.ConstTrackContainer, "Tracks")
        self._tracks.initialize("tracks")
        self.found: dict[int, list[list[int]]] = {}

    def execute(self, context: examples.AlgorithmContext) -> examples.ProcessCode:
        self.found[context.eventNumber] = [
            [
                examples.IndexSourceLink.fromSourceLink(state.uncalibratedSourceLink).index()
                for state in track.trackStatesReversed
                if state.typeFlags.isMeasurement
            ]
            for track in self._tracks(context.eventStore)
        ]
        return examples.ProcessCode.SUCCESS


def _durations(stamps: list[tuple[int, str, int]]) -> pd.DataFrame:
    """What passed between an event's stamps."""
    times = pd.DataFrame(stamps, columns=[*TIME_COLUMNS])
    times["duration_ns"] = times.groupby("event")["duration_ns"].diff()
    times = times[times["step"] != "start"].reset_index(drop=True)
    return times.astype({"event": np.int64, "duration_ns": np.int64})
