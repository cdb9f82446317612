"""Small events that need no simulation: tracks on gentle curves, written as ACTS CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from exatrkx_service.events.files import BARCODE_COLUMNS, event_file
from exatrkx_service.models.data import TrainingEvent

LAYERS = np.array([32, 72, 116, 172, 260, 360, 500, 660, 820, 1020.0])
N_EVENTS = 8  # in a sample
N_DISPLACED = 2  # tracks that start beyond the fourth layer, as HNL decay products
PIPELINE_CUTS = {"radius": 1.5, "k_max": 50, "filter_cut": 0.05, "gnn_cut": 0.5}
NETWORK_SIZES = {
    "embedding": {"hidden": 16, "n_layers": 2, "dimension": 4},
    "filtering": {"hidden": 8, "node_hidden": 8},
    "gnn": {"hidden": 8, "n_layers": 2},
}


def settings(stage: str, **changes) -> dict:
    """Settings of a stage's training for a small network; ``changes`` replace some."""
    return {
        "seed": 5,
        "validation_fraction": 0.25,
        "learning_rate": 0.002,
        "epochs": 2,
        "patience": 100,
        "network": NETWORK_SIZES[stage],
        "cuts": PIPELINE_CUTS,
    } | changes


def toy_event(seed: int, n_tracks: int = 12) -> TrainingEvent:
    """Tracks through ten layers, the points of each in the order of flight."""
    rng = np.random.default_rng(seed)
    points, particle, successor = [], [], []
    for track in range(n_tracks):
        r = LAYERS[4:] if track < N_DISPLACED else LAYERS
        phi = rng.uniform(-np.pi, np.pi) + rng.normal(0, 3e-4) * r
        z = np.sinh(rng.uniform(-1.5, 1.5)) * r
        start = len(particle)
        points.append(np.stack([r, np.mod(phi + np.pi, 2 * np.pi) - np.pi, z], axis=1))
        particle += [track] * len(r)
        successor += [*range(start + 1, start + len(r)), -1]
    particle = np.array(particle)
    return TrainingEvent(
        np.concatenate(points).astype(np.float32),
        particle,
        np.array(successor),
        particle < N_DISPLACED,
    )


def write_event(folder: Path, event_id: int, event: TrainingEvent) -> None:
    """Writes an event as ``events.reader.read_event`` reads it, one cluster per space point."""
    n_points, n_particles = len(event.particle), event.particle.max() + 1
    start = np.unique(event.particle, return_index=True)[1]
    vertex = np.where((np.arange(n_particles) < N_DISPLACED)[:, None], 0.9, 0.0)
    r, phi, z = event.space_points.T.astype(np.float64)
    position = np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)

    def write(kind: str, table: dict) -> None:
        pd.DataFrame(table).to_csv(event_file(folder, event_id, kind), index=False)

    def barcode(particles: np.ndarray) -> dict:
        columns = dict.fromkeys(BARCODE_COLUMNS, np.zeros(len(particles), np.int64))
        return columns | {BARCODE_COLUMNS[2]: particles + 1}

    ids = np.arange(n_particles)
    origin = dict(zip(("vx", "vy", "vz"), (vertex * position[start]).T, strict=True))
    momentum = dict(zip(("px", "py", "pz"), position[start].T, strict=True))
    kind = np.full(n_particles, 13)
    identity = barcode(ids) | {"particle_type": kind, "q": -np.ones(n_particles)}
    write("particles_simulated", identity | origin | momentum)
    write("hnl", barcode(ids[:N_DISPLACED]) | {"particle_type": kind[:N_DISPLACED]})
    write("hits", barcode(event.particle))
    rows = np.arange(n_points)
    write("measurement-simhit-map", {"measurement_id": rows, "hit_id": rows})
    unused = np.full(n_points, 2**64 - 1, np.uint64)
    clusters = {"measurement_id_1": rows, "measurement_id_2": unused}
    write("spacepoint", clusters | dict(zip("xyz", position.T, strict=True)))
