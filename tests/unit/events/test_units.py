"""Events whose numbers are in other units than mm and GeV."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from acts_csv import N_HNL_EVENTS, RawEvent, write_tables

from exatrkx_service.events.files import EVENT_FILES, event_file
from exatrkx_service.events.reader import read_event, read_space_points
from exatrkx_service.events.tables import EventFormatError


@pytest.fixture
def copy(hnl_sample, tmp_path) -> Path:
    for event_id in range(N_HNL_EVENTS):
        for kind in EVENT_FILES:
            shutil.copy(event_file(hnl_sample, event_id, kind), tmp_path)
    return tmp_path


def scale(path: Path, columns: str, factor: float) -> None:
    # As text: an id of 2**64 - 1 stays what it is.
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in columns.split():
        table[name] = (table[name].astype(float) * factor).map(repr)
    table.to_csv(path, index=False)


@pytest.mark.parametrize("event_id", range(N_HNL_EVENTS))
@pytest.mark.parametrize(("unit", "factor"), [("cm", 0.1), ("m", 1e-3), ("um", 1e3)])
def test_space_points_in_another_unit_are_refused(copy, event_id, unit, factor):
    scale(event_file(copy, event_id, "spacepoint"), "x y z", factor)
    message = rf"spacepoint\.csv: columns x,y,z: .* expected 400 to 20000 mm .*looks like {unit}$"
    with pytest.raises(EventFormatError, match=message):
        read_space_points(copy, event_id)


def test_space_points_in_a_unit_that_is_not_known_are_refused(copy):
    scale(event_file(copy, 0, "spacepoint"), "x y z", 1e-2)  # dm
    with pytest.raises(EventFormatError, match=r"from the origin, expected 400 to .* tracker$"):
        read_space_points(copy, 0)


@pytest.mark.parametrize(("n", "refused"), [(99, False), (100, True)])
def test_few_space_points_are_taken_as_they_are(tmp_path, n, refused):
    event = RawEvent(positions=[(1.0, 2.0, 3.0)] * n, clusters=[(i,) for i in range(n)])
    write_tables(tmp_path, event.tables())
    if refused:
        with pytest.raises(EventFormatError, match="expected 400"):
            read_space_points(tmp_path, 0)
    else:
        assert len(read_space_points(tmp_path, 0)) == n


def test_momenta_in_mev_are_refused(copy):
    path = event_file(copy, 0, "particles_simulated")
    assert len(read_event(copy, 0).particles) >= 100
    scale(path, "px py pz m", 1e3)
    message = r"particles_simulated\.csv: columns px,py,pz: .*at most 1000 GeV.*looks like MeV$"
    with pytest.raises(EventFormatError, match=message):
        read_event(copy, 0)


def test_a_few_particles_may_have_any_momentum(tmp_path):
    particles = [(1, 0, i, 0, 0) for i in range(99)]
    event = RawEvent(particles=particles, kinematics=[(0.0, 0.0, 0.0, 7e3, 0.0, 7e3, 1)] * 99)
    write_tables(tmp_path, event.tables())
    assert (read_event(tmp_path, 0).particles.pt == 7000).all()
