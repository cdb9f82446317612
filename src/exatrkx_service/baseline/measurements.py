"""The measurements of an event, checked against the detector and handed to ACTS.

The CSV files are read by ``events.reader``, not by the reader of ACTS. That one (pyacts 48.1,
CsvMeasurementReader) sorts the measurements by surface in a way that changes the order of those on
one surface, so that the number of a measurement on a track is not its row in the file: up to 10 %
of the measurements of an HNL event, a quarter of those of top pairs with pile-up. It also leaves
out a last row without a newline, fails at CRLF, takes a value that is missing from the row before,
and one that it can't read as 0.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import acts
import acts.examples as examples
import numpy as np

from exatrkx_service.events.detector import generic_detector
from exatrkx_service.events.event import UNUSED_MEASUREMENT, Measurements
from exatrkx_service.events.files import event_file
from exatrkx_service.events.tables import EventFormatError, require

_LEVEL = acts.logging.ERROR
# A space point and its measurement are the same place; they differ by the digits of the files.
_SAME_PLACE_MM = 0.1


def require_on_detector(folder: Path, event_id: int, measurements: Measurements) -> None:
    """Raises where measurements can't be of the detector that the CKF works with.

    Their surfaces must be sensitive ones of the generic detector, and where a space point was made
    from one measurement the local coordinates must lead to it. So files of another detector, of
    two events, or with local coordinates in another unit than mm are refused. Variances in another
    unit can't be told from a better or worse sensor.

    Args:
        folder: sample folder.
        event_id: number of the event.
        measurements: of that event.

    Raises:
        EventFormatError: a measurement is not of the detector.
    """
    path = event_file(folder, event_id, "measurements")
    table, surfaces = measurements.table, _sensitive_surfaces()
    ids = table["geometry_id"].tolist()
    known = np.array([i in surfaces for i in ids], dtype=bool)
    expected = "a sensitive surface of the generic detector of ACTS"
    require(path, "geometry_id", known, expected, table)

    context = acts.GeometryContext.dangerouslyDefaultConstruct()
    anywhere = acts.Vector3(0, 0, 1)  # a direction: on plane surfaces it doesn't matter
    places = np.array(
        [
            surfaces[i].localToGlobal(context, acts.Vector2(*local), anywhere)
            for i, *local in zip(ids, table["local0"], table["local1"], strict=True)
        ]
    ).reshape(-1, 3)
    single = np.flatnonzero(measurements.clusters[:, 1] == UNUSED_MEASUREMENT)
    row = measurements.clusters[single, 0].astype(np.int64)
    r, phi, z = measurements.space_points[single].T.astype(np.float64)
    points = np.column_stack([r * np.cos(phi), r * np.sin(phi), z])
    distance = np.linalg.norm(points - places[row], axis=1)
    if (distance > _SAME_PLACE_MM).any():
        worst = int(np.argmax(distance))
        point, measurement = (int(rows[worst]) + 2 for rows in (single, row))
        raise EventFormatError(
            f"{path}: line {measurement}, columns local0,local1: lead to "
            f"{distance[worst]:.4g} mm from the space point in line {point} of "
            f"{event_file(folder, event_id, 'spacepoint').name} that was made from them, expected "
            "the same place: local coordinates in mm, and both files of the same event"
        )


@functools.cache
def _sensitive_surfaces() -> dict[int, acts.Surface]:
    geometry = generic_detector().trackingGeometry()
    return {
        identifier.value: surface
        for identifier, surface in geometry.geoIdSurfaceMap().items()
        if surface.isSensitive
    }


class MeasurementSource(examples.IAlgorithm):
    """Gives ACTS the measurements of each event; their numbers are their rows in the file."""

    def __init__(self, events: Mapping[int, Measurements]) -> None:
        super().__init__("MeasurementSource", _LEVEL)
        self._events = events
        self._output = examples.WriteDataHandle(self, examples.MeasurementContainer, "Output")
        self._output.initialize("measurements")

    def execute(self, context: examples.AlgorithmContext) -> examples.ProcessCode:
        """Writes the container ``measurements``."""
        table = self._events[context.eventNumber].table
        measurements = examples.MeasurementContainer()
        measurements.reserve(len(table))
        columns = ("geometry_id", "local0", "local1", "var_local0", "var_local1")
        for surface, *values in zip(*(table[name].tolist() for name in columns), strict=True):
            measurements.emplaceMeasurement(
                acts.GeometryIdentifier(surface), (0, 1), values[:2], values[2:]
            )
        self._output(context, measurements)
        return examples.ProcessCode.SUCCESS


class MeasurementSubsetMaker(examples.IAlgorithm):
    """Gives the algorithms the measurements in the type that they take."""

    def __init__(self) -> None:
        super().__init__("MeasurementSubsetMaker", _LEVEL)
        self._input = examples.ReadDataHandle(self, examples.MeasurementContainer, "Input")
        self._input.initialize("measurements")
        self._output = examples.WriteDataHandle(self, examples.MeasurementSubset, "Output")
        self._output.initialize("measurement_subset")

    def execute(self, context: examples.AlgorithmContext) -> examples.ProcessCode:
        """Writes ``measurement_subset``: all of ``measurements``."""
        measurements = self._input(context.eventStore)
        self._output(context, examples.MeasurementSubset(measurements, range(len(measurements))))
        return examples.ProcessCode.SUCCESS
