#!/usr/bin/env bash
# pyacts 48.1.0 (ACTS v48.1.0), seen on 27 November 2026.
#
# CsvSpacePointReader can't read what CsvSpacePointWriter of the same release writes. The writer
# has the columns measurement_id_1, measurement_id_2, geometry_id_1, geometry_id_2, x, y, z, t,
# var_r, var_z; the reader wants measurement_id, sp_x, sp_y, sp_z and 17 more, none of which is
# optional, and a file name that ends in _pixel, _strip or _overlap, which the writer's doesn't.
# The error is a "Missing header column" that names neither the file nor what was found.
#
# Why it matters here: there are two layouts of "space points of ACTS"; our readers take the
# writer's, and say which one a file has that they can't take.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyacts==48.1.0 numpy==1.26.4
cat > "$work/try.py" <<'PYTHON'
import pathlib
import sys
import tempfile

import acts
import acts.examples as examples

LEVEL = acts.logging.FATAL


class Source(examples.IAlgorithm):
    """Three measurements on one pixel sensor of the generic detector."""

    def __init__(self, surface):
        super().__init__("Source", LEVEL)
        self.surface = surface
        self.output = examples.WriteDataHandle(self, examples.MeasurementContainer, "Output")
        self.output.initialize("measurements")

    def execute(self, context):
        measurements = examples.MeasurementContainer()
        for i in range(3):
            measurements.emplaceMeasurement(self.surface, [0, 1], [i, i], [0.01, 0.01])
        self.output(context, measurements)
        return examples.ProcessCode.SUCCESS


class Subset(examples.IAlgorithm):
    """All measurements, in the type that the maker of space points takes."""

    def __init__(self):
        super().__init__("Subset", LEVEL)
        self.input = examples.ReadDataHandle(self, examples.MeasurementContainer, "Input")
        self.input.initialize("measurements")
        self.output = examples.WriteDataHandle(self, examples.MeasurementSubset, "Output")
        self.output.initialize("subset")

    def execute(self, context):
        measurements = self.input(context.eventStore)
        self.output(context, examples.MeasurementSubset(measurements, range(len(measurements))))
        return examples.ProcessCode.SUCCESS


def sequencer():
    return examples.Sequencer(
        events=1, numThreads=1, logLevel=LEVEL, trackFpes=False, outputDir=""
    )


geometry = examples.GenericDetector().trackingGeometry()
surface = next(
    identifier
    for identifier, each in geometry.geoIdSurfaceMap().items()
    if each.isSensitive and identifier.volume == 8
)
with tempfile.TemporaryDirectory() as name:
    writing = sequencer()
    writing.addAlgorithm(Source(surface))
    writing.addAlgorithm(Subset())
    writing.addAlgorithm(
        examples.SpacePointMaker(
            level=LEVEL,
            trackingGeometry=geometry,
            inputMeasurements="subset",
            outputSpacePoints="points",
            geometrySelection=[acts.GeometryIdentifier(volume=8)],
        )
    )
    writing.addWriter(
        examples.CsvSpacePointWriter(level=LEVEL, inputSpacePoints="points", outputDir=name)
    )
    writing.run()
    (path,) = pathlib.Path(name).iterdir()
    header, *rows = path.read_text().splitlines()
    print(f"written: {path.name}, {len(rows)} rows, columns {header}")

    path.rename(path.with_name("event000000000-spacepoint_pixel.csv"))
    reading = sequencer()
    reading.addReader(
        examples.CsvSpacePointReader(
            level=LEVEL,
            inputDir=name,
            inputStem="spacepoint",
            inputCollection="pixel",
            outputSpacePoints="points",
            extendCollection=False,
        )
    )
    try:
        reading.run()
        error = "none"
    except RuntimeError as caught:
        error = str(caught)
    print("read again, renamed to", next(pathlib.Path(name).iterdir()).name, "- error:", error)
sys.exit(not (len(rows) == 3 and error == "Missing header column 'measurement_id'"))
PYTHON
"$work/venv/bin/python" "$work/try.py"
