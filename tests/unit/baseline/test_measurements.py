"""What the CKF takes for measurements of its detector, and gives to ACTS."""

import shutil
from pathlib import Path

import acts
import acts.examples as examples
import numpy as np
import pandas as pd
import pytest
import yaml

from exatrkx_service.baseline.ckf import find_tracks
from exatrkx_service.baseline.measurements import MeasurementSource, require_on_detector
from exatrkx_service.events.detector import make_sequencer
from exatrkx_service.events.files import event_file
from exatrkx_service.events.generate import generate
from exatrkx_service.events.reader import read_measurements
from exatrkx_service.events.tables import EventFormatError


@pytest.fixture(scope="module")
def sample(root, tmp_path_factory):
    """Two events of top pairs, with many measurements on some surfaces; tests do not change it."""
    config = yaml.safe_load((root / "config" / "config.yaml").read_text())["events"]
    folder = tmp_path_factory.mktemp("samples") / "ttbar"
    generate(folder, {**config, "process": "ttbar"}, 0, 2)
    return folder


@pytest.fixture
def files(sample, tmp_path):
    """The files of event 1 that the CKF reads: of measurements, and of space points."""
    paths = [event_file(tmp_path, 1, kind) for kind in ("measurements", "spacepoint")]
    for path in paths:
        shutil.copy(sample / path.name, path)
    return paths


class _Collector(examples.IAlgorithm):
    """Keeps surface and local coordinates of the measurements that ACTS was given."""

    def __init__(self) -> None:
        super().__init__("Collector", acts.logging.ERROR)
        self._input = examples.ReadDataHandle(self, examples.MeasurementContainer, "Input")
        self._input.initialize("measurements")
        self.rows = []

    def execute(self, context) -> examples.ProcessCode:
        self.rows += [
            (m.index, m.geometryId.value, *m.subspaceIndices, *list(m.fullParameters)[:2])
            for m in self._input(context.eventStore)
        ]
        return examples.ProcessCode.SUCCESS


def test_the_number_of_a_measurement_is_its_row(sample):
    sequencer = make_sequencer(1, 1, threads=1, level=acts.logging.ERROR)
    sequencer.addAlgorithm(MeasurementSource({1: read_measurements(sample, 1)}))
    collector = _Collector()
    sequencer.addAlgorithm(collector)
    sequencer.run()
    table = pd.read_csv(event_file(sample, 1, "measurements"), float_precision="round_trip")
    assert table.geometry_id.value_counts().max() > 10
    expected = table[["measurement_id", "geometry_id", "local0", "local1"]].assign(key0=0, key1=1)
    expected = expected[["measurement_id", "geometry_id", "key0", "key1", "local0", "local1"]]
    assert collector.rows == list(expected.itertuples(index=False, name=None))


def test_generated_events_are_of_the_detector(sample):
    for event_id in range(2):
        require_on_detector(sample, event_id, read_measurements(sample, event_id))


def change(path: Path, line: int, column: str, new: str) -> None:
    lines = path.read_text().split("\n")
    values = lines[line].split(",")
    values[lines[0].split(",").index(column)] = new
    lines[line] = ",".join(values)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("line", "column", "new", "message"),
    [
        (0, "local0", "loc0", "column local0: found 0 times, expected once; found the columns"),
        (3, "geometry_id", "x504", "line 4, column geometry_id: 'x504', expected an integer"),
        (3, "geometry_id", "12345", "line 4, column geometry_id: 12345, expected a sensitive surf"),
        (3, "geometry_id", "0", "line 4, column geometry_id: 0, expected a sensitive surface"),
        # A surface that the detector has, but without a sensor: boundary 1 of volume 1.
        (3, "geometry_id", str(1 << 56 | 1 << 48), "line 4, column geometry_id: 7233"),
        (3, "measurement_id", "7", "line 4, column measurement_id: 7, expected the number of the"),
        (3, "local_key", "6", r"line 4, column local_key: '6', expected the byte 0x06"),
        (3, "local_key", "", r"line 4, column local_key: '', expected the byte 0x06"),
        (3, "local_key", "\x02", r"line 4, column local_key: '\\x02', expected the byte 0x06"),
        (3, "local_key", "F", r"line 4, column local_key: 'F', expected the byte 0x06"),
        (3, "local0", "", "line 4, column local0: '', expected a finite number"),
        (3, "local1", "nan", "line 4, column local1: 'nan', expected a finite number"),
        (3, "var_local0", "0", "line 4, column var_local0: 0.0, expected a variance"),
        (3, "var_local1", "-1e-4", "line 4, column var_local1: -0.0001, expected a variance"),
        (3, "var_local1", "inf", "line 4, column var_local1: 'inf', expected a finite number"),
        (3, "local1", "9999", r"line 4, columns local0,local1: lead to .* mm from .* in line 4 of"),
    ],
)
def test_a_damaged_file_of_measurements_is_named(files, line, column, new, message):
    change(files[0], line, column, new)
    with pytest.raises(EventFormatError, match=rf"-measurements\.csv: {message}"):
        find_tracks(files[0].parent, 1, 1)


def test_a_file_that_lacks_measurements_is_named(files):
    files[0].write_text("\n".join(files[0].read_text().split("\n")[:9]) + "\n")
    message = r"-spacepoint\.csv: line 10, column measurement_id_1: 8, expected a row of .* has 8"
    with pytest.raises(EventFormatError, match=message):
        find_tracks(files[0].parent, 1, 1)


@pytest.mark.parametrize("which", [0, 1])
def test_a_last_row_without_a_newline_is_named(files, which):
    """ACTS drops such a row, and finds other tracks."""
    files[which].write_bytes(files[which].read_bytes()[:-1])
    with pytest.raises(EventFormatError, match=f"{files[which].name}: line .*without a newline"):
        find_tracks(files[0].parent, 1, 1)


@pytest.mark.parametrize("factor", [0.1, 1e-3, 1e3])
def test_local_coordinates_in_another_unit_are_refused(files, factor):
    table = pd.read_csv(files[0], dtype=str)
    for name in ("local0", "local1"):
        table[name] = (table[name].astype(float) * factor).map(repr)
    table.to_csv(files[0], index=False)
    with pytest.raises(EventFormatError, match=r"local0,local1: lead to .*coordinates in mm"):
        find_tracks(files[0].parent, 1, 1)


def test_space_points_of_another_event_are_refused(sample, files):
    measurements, points = (
        pd.read_csv(event_file(sample, i, k), dtype=str)
        for i, k in ((1, "measurements"), (0, "spacepoint"))
    )
    n = min(len(measurements), len(points))
    measurements[:n].to_csv(files[0], index=False)
    points[:n].to_csv(files[1], index=False, na_rep="nan")
    with pytest.raises(EventFormatError, match="both files of the same event"):
        find_tracks(files[0].parent, 1, 1)


def test_a_space_point_of_two_measurements_may_lie_elsewhere(files):
    change(files[1], 3, "measurement_id_2", "7")
    change(files[1], 3, "x", "500.0")
    folder = files[0].parent
    measurements = read_measurements(folder, 1)
    assert measurements.clusters[2].tolist() == [2, 7]
    assert measurements.clusters.dtype == np.uint64
    require_on_detector(folder, 1, measurements)
