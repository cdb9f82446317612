"""The pipeline as a track finder: what it found, of which events, and in which steps."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from exatrkx_service.analysis.physics import physics_table
from exatrkx_service.events.event import Event
from exatrkx_service.identity import with_networks
from exatrkx_service.measure.load import hash_labels
from exatrkx_service.measure.reference import run_reference
from exatrkx_service.models.export import WEIGHTS, export_all
from exatrkx_service.options import STAGES
from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.pipeline.stages import StageError

PARAMETERS = {
    **{"device": "cpu", "threads": 1, "radius": 1.7, "k_max": 100, "filter_cut": 0.008},
    **{"labeling": "components", "gnn_cut": 0.8, "weights": str(WEIGHTS)},
}
PARAMETERS = with_networks(PARAMETERS)
LAYERS = np.array([32, 72, 116, 172, 260, 360, 500, 660, 820, 1020.0])


def straight_tracks(number: int, n_tracks: int) -> Event:
    """Particles that fly straight outwards in different directions, a point in every layer."""
    phi = np.linspace(-3, 3, n_tracks).repeat(len(LAYERS))
    eta = np.linspace(-1, 1, n_tracks).repeat(len(LAYERS))
    r = np.tile(LAYERS, n_tracks)
    points = np.column_stack([r, phi, np.sinh(eta) * r]).astype(np.float32)
    particles = pd.DataFrame({"charge": 1.0, "pt": 50.0, "eta": np.unique(eta), "vr": 0.0})
    particles = particles.assign(vz=0.0, from_hnl=False, n_space_points=len(LAYERS))
    return Event(number, points, np.arange(n_tracks).repeat(len(LAYERS)), particles)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    export_all(WEIGHTS, folder, PARAMETERS)
    return folder


def test_the_reference_is_the_pipeline_as_a_track_finder(repository):
    events = [straight_tracks(4, 5), straight_tracks(9, 12), straight_tracks(10, 0)]
    sizes, method = run_reference(events, repository, PARAMETERS)
    assert sizes.event.tolist() == [4, 9, 10]
    assert sizes.n_space_points.tolist() == [50, 120, 0]
    n_tracks = method.tracks.groupby("event").track.nunique()
    assert sizes.n_tracks.tolist() == [n_tracks[4], n_tracks[9], 0]
    assert (sizes.n_edges_filtered <= sizes.n_edges_built).all()

    labels = local_pipeline(repository, PARAMETERS)(events[1].space_points)["labels"]
    assert sizes.labels_sha256[1] == hash_labels(labels)
    tracks = method.tracks[method.tracks.event == 9]
    assert labels[tracks.space_point].tolist() == tracks.track.tolist()
    assert len(tracks) == (labels >= 0).sum()

    assert method.times.groupby("event").step.agg(list).tolist() == [list(STAGES)] * 3
    assert (method.times.duration_ns > 0).all()
    edges = method.edges[(method.edges.population == "all") & (method.edges.stage == "building")]
    assert edges.n_edges.tolist() == sizes.n_edges_built.tolist()
    assert edges.n_true.tolist() == [5 * 9, 12 * 9, 0]

    table = physics_table(events, {"exatrkx": method}, confidence_level=0.95)
    row = table[(table.quantity == "technical_efficiency") & (table.population == "B")].iloc[0]
    assert row.total == 17 and row.value > 0.9


class Fails(nn.Module):
    """A GNN that has no number for an event of 120 space points."""

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        scores = x[:, 0][edges[0]]
        return scores / 0.0 if x.size(0) == 120 else scores


def test_a_network_that_fails_on_an_event_is_named_with_it(tmp_path):
    torch.jit.save(torch.jit.script(Fails()), tmp_path / "gnn.pt")
    model = {"file": str(tmp_path / "gnn.pt"), "features": ["r", "z"], "scales": [1000, 1000]}
    models = {"gnn": model | {"output": "logit"}}
    parameters = with_networks({**PARAMETERS, "models": models})
    export_all(WEIGHTS, tmp_path, parameters)
    events = [straight_tracks(4, 5), straight_tracks(9, 12)]
    with pytest.raises(StageError, match=r"gnn/1/model.pt: ValueError: gives .*, in event 9$"):
        run_reference(events, tmp_path, parameters)


def test_nothing_has_imported_torch_before_the_reference_settles_its_threads():
    # torch and faiss read the number of threads when they are imported.
    code = """
import sys
import exatrkx_service.tracking, exatrkx_service.events.manifest
import exatrkx_service.measure.job, exatrkx_service.measure.reference
print({"torch", "faiss"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
