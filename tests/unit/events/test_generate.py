"""Events from the real Pythia 8 and the real ACTS, a few at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from acts_csv import N_HNL_EVENTS

from exatrkx_service.events.collisions import (
    HNL_ID,
    PROMPT_MM,
    CollisionGenerator,
    PhysicsError,
)
from exatrkx_service.events.files import BARCODE_COLUMNS, EVENT_FILES, event_file
from exatrkx_service.events.generate import generate
from exatrkx_service.events.reader import read_event
from exatrkx_service.events.vertices import barcodes


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def collision_z(folder: Path, event_id: int) -> np.ndarray:
    particles = read_event(folder, event_id).particles
    primary = particles.particle_id.str.split("|").str[0]
    prompt = particles.particle_id.str.split("|").str[1] == "0"
    generated = particles.particle_id.str.endswith("|0|0")
    return particles[prompt & generated].groupby(primary).vz.first().to_numpy()


@pytest.mark.parametrize("chunk", [2, 3])
def test_chunks_give_the_same_bytes(hnl_sample, config, tmp_path, chunk):
    # The last chunk first: no event may depend on those made before it.
    for first in reversed(range(0, N_HNL_EVENTS, chunk)):
        generate(tmp_path / "s", config, first, chunk)
    assert contents(tmp_path / "s") == contents(hnl_sample)


def test_two_threads_give_the_same_bytes(hnl_sample, config, tmp_path):
    generate(tmp_path / "s", config, 0, N_HNL_EVENTS, threads=2)
    assert contents(tmp_path / "s") == contents(hnl_sample)


def test_pileup_event_alone_gives_the_same_bytes(pileup_sample, config, tmp_path):
    generate(tmp_path / "s", {**config, "pileup": 5}, 1, 1)
    whole = contents(pileup_sample)
    alone = contents(tmp_path / "s")
    assert len(alone) == len(EVENT_FILES)
    assert all(whole[name] == data for name, data in alone.items())


def test_another_seed_gives_other_events(hnl_sample, config, tmp_path):
    generate(tmp_path / "s", {**config, "seed": config["seed"] + 1}, 0, 1)
    file = event_file(tmp_path / "s", 0, "spacepoint")
    others = [event_file(hnl_sample, i, "spacepoint").read_bytes() for i in range(N_HNL_EVENTS)]
    assert file.read_bytes() not in others


def test_folder_holds_the_files_of_the_events_and_no_more(hnl_sample):
    expected = {
        event_file(hnl_sample, i, kind).name for i in range(N_HNL_EVENTS) for kind in EVENT_FILES
    }
    assert set(contents(hnl_sample)) == expected
    assert [path.name for path in hnl_sample.parent.iterdir() if path.name[0] == "."] == []


def test_nothing_is_left_behind_when_generation_fails(config, tmp_path):
    config["hnl"]["mass_gev"] = 90
    with pytest.raises(PhysicsError):
        generate(tmp_path / "s", config, 0, 2)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("kind", ["hnl", "pileup"])
def test_simulated_particles_are_the_generated_ones(request, kind):
    """The barcodes counted for the HNL file are those that ACTS gives the same particles."""
    folder = request.getfixturevalue(f"{kind}_sample")
    generator = request.getfixturevalue(f"{kind}_generator")
    for event_id in range(2):
        collisions = generator.event(event_id)
        position = {}
        for primary, collision in enumerate(collisions, start=1):
            for secondary, vertex in enumerate(collision.vertices()):
                position[primary, secondary] = vertex.position
        generated = dict(barcodes(collisions))
        table = pd.read_csv(event_file(folder, event_id, "particles_simulated"))
        initial = table[table.particle_id_gen == 0]
        assert len(initial) > 5
        for row in initial.itertuples():
            code = tuple(getattr(row, name) for name in BARCODE_COLUMNS)
            particle = generated[code]
            assert row.particle_type == particle.pdg
            assert (row.px, row.py, row.pz) == pytest.approx(particle.momentum[:3], rel=1e-5)
            assert (row.vx, row.vy, row.vz) == pytest.approx(position[code[:2]][:3], rel=1e-5)


def test_hnl_daughters_start_at_the_decay_of_the_hnl(hnl_sample, hnl_generator):
    flagged = 0
    for event_id in range(N_HNL_EVENTS):
        (collision,) = hnl_generator.event(event_id)
        decay = [v for v in collision.displaced if v.parent.pdg == HNL_ID]
        particles = read_event(hnl_sample, event_id).particles
        daughters = particles[particles.from_hnl]
        flagged += len(daughters)
        # Also in the decay chain of the HNL: kaons, Lambdas and the like, which start later.
        if len(daughters):
            (vertex,) = decay
            radius = np.hypot(*vertex.position[:2])
            assert radius > 1
            assert np.isclose(daughters.vr, radius, rtol=1e-4).any()
        others = particles[~particles.from_hnl]
        assert np.median(others.vr) < 0.1
    assert flagged > 10


def test_mean_decay_length_of_the_hnl_is_the_one_asked_for(config):
    config["hnl"]["ctau_mm"] = 50
    generator = CollisionGenerator(config)
    proper = []
    for event_id in range(250):
        (collision,) = generator.event(event_id)
        for vertex in collision.displaced:
            if vertex.parent.pdg == HNL_ID:
                flight = np.subtract(vertex.position[:3], collision.primary.position[:3])
                momentum = np.linalg.norm(vertex.parent.momentum[:3])
                proper.append(np.linalg.norm(flight) * vertex.parent.mass / momentum)
                assert vertex.parent.mass == pytest.approx(config["hnl"]["mass_gev"])
    # Decays outside the detector are lost, so the median (0.69 ctau) is safer than the mean.
    assert len(proper) > 150
    assert np.median(proper) == pytest.approx(50 * np.log(2), rel=0.25)


def test_prompt_hnl_daughters_are_still_marked(config):
    config["hnl"]["ctau_mm"] = PROMPT_MM / 1e3
    generator = CollisionGenerator(config)
    marked = 0
    for event_id in range(20):
        (collision,) = generator.event(event_id)
        assert not any(v.parent.pdg == HNL_ID for v in collision.displaced)
        marked += sum(p.from_hnl for p in collision.primary.particles)
    assert marked > 40


def test_generated_particles_are_inside_the_acceptance(config):
    config["pt_min_gev"] = 1.0
    generator = CollisionGenerator(config)
    particles = [p for i in range(20) for c in generator.event(i) for _, p in barcodes([c])]
    momenta = np.array([p.momentum[:3] for p in particles])
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    assert len(pt) > 100
    assert pt.min() >= 1.0
    assert np.abs(np.arcsinh(momenta[:, 2] / pt)).max() <= 4.0


def test_beam_spot(hnl_generator):
    x, _, z, t = np.array([hnl_generator.event(i)[0].primary.position for i in range(200)]).T
    assert np.std(z) == pytest.approx(50, rel=0.2)
    assert np.std(x) == pytest.approx(0.01, rel=0.2)
    assert np.all(t == 0)


def test_pileup_adds_collisions_along_the_beam(hnl_sample, pileup_sample):
    for event_id in range(2):
        assert len(collision_z(hnl_sample, event_id)) <= 1
        z = collision_z(pileup_sample, event_id)
        assert len(z) > 1
        assert len(np.unique(z)) == len(z)
        quiet, busy = (len(read_event(s, event_id)) for s in (hnl_sample, pileup_sample))
        assert busy > quiet


def test_hard_collision_is_the_same_with_and_without_pileup(hnl_generator, pileup_generator):
    for event_id in range(3):
        assert pileup_generator.event(event_id)[0] == hnl_generator.event(event_id)[0]


def test_collisions_of_an_event_differ(pileup_generator):
    collisions = [c for event_id in range(3) for c in pileup_generator.event(event_id)]
    momenta = [p.momentum for c in collisions for v in c.vertices() for p in v.particles]
    assert len(momenta) > 500
    assert len(set(momenta)) == len(momenta)


def test_ttbar_has_an_empty_hnl_file(config, tmp_path):
    generate(tmp_path / "s", {**config, "process": "ttbar"}, 0, 2)
    for event_id in range(2):
        event = read_event(tmp_path / "s", event_id)
        assert len(event) > 300
        assert not event.particles.from_hnl.any()
        lines = event_file(tmp_path / "s", event_id, "hnl").read_text().splitlines()
        assert lines == [",".join([*BARCODE_COLUMNS, "particle_type"])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hnl": {"mass_gev": 80.5, "ctau_mm": 100}}, r"events\.hnl\.mass_gev: 80\.5"),
        ({"hnl": {"mass_gev": 0.2, "ctau_mm": 100}}, r"events\.hnl\.mass_gev: 0\.2"),
        ({"hnl": {"mass_gev": 15, "ctau_mm": 0}}, r"events\.hnl\.ctau_mm: 0"),
        ({"process": "higgs"}, r"events\.process: 'higgs'.*'hnl' or 'ttbar'"),
        ({"pileup": -1}, r"events\.pileup: -1"),
        ({"process": "ttbar", "sqrt_s_gev": 100}, r"sqrt_s_gev 100"),
    ],
)
def test_impossible_physics_is_refused(config, change, message):
    with pytest.raises(PhysicsError, match=message):
        CollisionGenerator({**config, **change})


@pytest.mark.parametrize(("first", "n"), [(-1, 2), (0, 0), (0, -3)])
def test_bad_range_of_events(config, tmp_path, first, n):
    with pytest.raises(ValueError, match="first_event"):
        generate(tmp_path / "s", config, first, n)
    assert not (tmp_path / "s").exists()


def test_generation_says_nothing(config, tmp_path):
    code = (
        "import sys, json; from pathlib import Path;"
        "from exatrkx_service.events.generate import generate;"
        "import yaml; generate(Path(sys.argv[1]), yaml.safe_load(sys.argv[2]), 0, 2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s"), yaml.safe_dump(config)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
