#!/usr/bin/env bash
# pyacts 48.1.0 (ACTS v48.1.0), seen on 27 November 2026.
#
# An empty value in a CSV file, which is how Python's csv module and pandas write a missing one,
# is read as the value of the row above it: the reader fills one and the same record again for
# each row, and parses an empty text into nothing (CsvInputOutput.hpp). What it can't parse, such
# as nan, it reads as 0; a whole number in hexadecimal notation too. None of it is an error or a
# warning. And local_key, a bit mask, is read as one character: the digit 6 is not the mask 6
# (local0 and local1) but 0x36, four parameters, of which nobody measured theta and q/p.
#
# Why it matters here: of a file with such a value the CKF made other tracks, or none, without a
# word. Our reader refuses such a file, with the line and the column.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyacts==48.1.0 numpy==1.26.4
cat > "$work/try.py" <<'PYTHON'
import csv
import pathlib
import sys
import tempfile

import acts
import acts.examples as examples

SURFACE = acts.GeometryIdentifier(volume=8, layer=2, sensitive=1).value
COLUMNS = (
    "measurement_id geometry_id local_key local0 local1 phi theta time var_local0 var_local1 "
    "var_phi var_theta var_time global_x global_y global_z"
).split()


class Collector(examples.IAlgorithm):
    """Keeps surface, local0 and the measured parameters of each measurement."""

    def __init__(self):
        super().__init__("Collector", acts.logging.ERROR)
        self.input = examples.ReadDataHandle(self, examples.MeasurementContainer, "Input")
        self.input.initialize("measurements")

    def execute(self, context):
        self.found = [
            (m.geometryId.value, m.fullParameters[0], list(m.subspaceIndices))
            for m in self.input(context.eventStore)
        ]
        return examples.ProcessCode.SUCCESS


def second_of_two(**changes):
    """What is read of a second measurement with these values; the first has local0 = 1.5."""
    usual = dict.fromkeys(COLUMNS, 0) | {
        "geometry_id": SURFACE,
        "local_key": "\x06",
        "var_local0": 0.01,
        "var_local1": 0.01,
    }
    rows = [
        usual | {"local0": 1.5},
        usual | {"measurement_id": 1, "local0": 2.5} | changes,
    ]
    with tempfile.TemporaryDirectory() as name:
        with pathlib.Path(name, "event000000000-measurements.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        links = pathlib.Path(name, "event000000000-measurement-simhit-map.csv")
        links.write_text("measurement_id,hit_id\n0,0\n1,1\n")
        sequencer = examples.Sequencer(
            events=1, numThreads=1, logLevel=acts.logging.ERROR, trackFpes=False, outputDir=""
        )
        sequencer.addReader(
            examples.CsvMeasurementReader(
                level=acts.logging.ERROR,
                inputDir=name,
                outputMeasurements="measurements",
                outputMeasurementSimHitsMap="map",
            )
        )
        collector = Collector()
        sequencer.addAlgorithm(collector)
        sequencer.run()
        # The one with surface 0 comes first, where there is one.
        return next((m for m in collector.found if m[0] == 0), collector.found[-1])


seen = {
    "local0 2.5": second_of_two(),
    "local0 missing": second_of_two(local0=None),
    "local0 nan": second_of_two(local0="nan"),
    "geometry_id in hexadecimal": second_of_two(geometry_id=hex(SURFACE)),
    "local_key 6": second_of_two(local_key=6),
}
for case, (surface, local0, parameters) in seen.items():
    print(f"{case}: read as surface {surface}, local0 {local0}, measured parameters {parameters}")
sys.exit(
    list(seen.values())
    != [
        (SURFACE, 2.5, [0, 1]),
        (SURFACE, 1.5, [0, 1]),
        (SURFACE, 0.0, [0, 1]),
        (0, 2.5, [0, 1]),
        (SURFACE, 2.5, [0, 1, 3, 4]),
    ]
)
PYTHON
"$work/venv/bin/python" "$work/try.py"
