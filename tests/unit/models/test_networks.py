import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from exatrkx_service.models.features import edge_features, node_features, orient_edges
from exatrkx_service.models.networks import Embedding, Filter, InteractionGNN


def all_pairs(n: int) -> torch.Tensor:
    return torch.triu_indices(n, n, offset=1)


def test_shapes_and_types(event):
    points = torch.from_numpy(event.space_points)
    edges = all_pairs(len(points))
    embedding = Embedding(dimension=5)(points)
    assert embedding.shape == (len(points), 5)
    assert embedding.dtype == torch.float32
    network = InteractionGNN()
    for type_ in (torch.int64, torch.int32):
        filtered = Filter(cut=0.0)(points, edges.to(type_))
        assert filtered.shape == edges.shape
        assert filtered.dtype == type_
    scores = network(points, filtered)
    assert torch.equal(scores, network(points, filtered.long()))
    assert scores.shape == (filtered.shape[1],)
    assert 0 <= scores.min() < scores.max() <= 1


@pytest.mark.parametrize("n_points", [0, 1, 5])
def test_no_edges(n_points):
    points = torch.rand(n_points, 3) * 100
    edges = torch.empty((2, 0), dtype=torch.int64)
    assert Embedding()(points).shape == (n_points, 8)
    assert Filter()(points, edges).shape == (2, 0)
    assert InteractionGNN()(points, edges).shape == (0,)


def test_filter_drops_below_its_cut_and_orients_outwards(event):
    torch.manual_seed(0)
    points = torch.from_numpy(event.space_points)
    edges = all_pairs(len(points))[:, torch.randperm(len(points) * (len(points) - 1) // 2)]
    network = Filter().eval()
    scores = torch.sigmoid(network.logits(points, orient_edges(points, edges)))
    network.cut = float(scores.median())
    kept = network(points, edges)
    assert 0 < kept.shape[1] < edges.shape[1]
    assert torch.equal(kept, orient_edges(points, edges)[:, scores >= network.cut])
    distance = torch.hypot(points[:, 0], points[:, 2])
    assert (distance[kept[0]] <= distance[kept[1]]).all()
    assert torch.equal(network(points, edges.flip(0)), kept)


def test_filter_scores_do_not_depend_on_the_parts_they_are_computed_in(event):
    points = torch.from_numpy(event.space_points)
    edges = orient_edges(points, all_pairs(len(points)))
    network = Filter()
    whole = network.logits(points, edges)
    network.cpu_part = 100
    torch.testing.assert_close(network.logits(points, edges), whole)


def test_gnn_does_not_depend_on_the_order_of_the_edges(event):
    points = torch.from_numpy(event.space_points)
    edges = orient_edges(points, torch.from_numpy(event.truth_edges))
    order = torch.randperm(edges.shape[1])
    network = InteractionGNN().eval()
    scores = network(points, edges)
    torch.testing.assert_close(network(points, edges[:, order]), scores[order])


def test_features_of_a_straight_track_from_the_origin():
    points = torch.tensor([[30.0, 3.1, 60.0], [100.0, 3.1, 200.0]])
    features = edge_features(node_features(points), torch.tensor([[0], [1]]))[0].numpy()
    eta = np.arcsinh(2.0)
    np.testing.assert_allclose(features, [70, 140, 0, 70, 0, 0, eta, 0], atol=2e-4)


def test_features_of_a_displaced_track():
    # From (100, 0, 10) along y: impact parameter 100 mm, z constant.
    r, phi = np.hypot(100, 50), np.arctan2(50, 100)
    points = torch.tensor([[100.0, 0.0, 10.0], [r, phi, 10.0]], dtype=torch.float32)
    features = edge_features(node_features(points), torch.tensor([[0], [1]]))[0].numpy()
    expected = [r - 100, 0, np.sin(phi), 50, 100, 10, 0, -np.arcsinh(0.1)]
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


def test_phi_on_both_sides_of_pi_is_the_same_place():
    near = node_features(torch.tensor([[50.0, np.pi, 1.0], [50.0, -np.pi, 1.0]]))
    torch.testing.assert_close(near[0], near[1], atol=1e-4, rtol=0)


# In a process of its own, for the file is made with the first layer.
SCRIPTING = """
import torch
from exatrkx_service.models.networks import InteractionGNN
points, edges = torch.rand(5, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])
for _ in range(2):
    network = InteractionGNN().eval()
    assert torch.equal(torch.jit.script(network)(points, edges), network(points, edges))
"""


@pytest.mark.parametrize("bytecode", ["", "1"])
def test_nothing_is_left_among_temporary_files(tmp_path, bytecode):
    changes = {"TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": bytecode}
    source = Path(sys.modules[InteractionGNN.__module__].__file__).parents[2]
    changes["PYTHONPATH"] = str(source)
    subprocess.run([sys.executable, "-c", SCRIPTING], check=True, env={**os.environ, **changes})
    # PyTorch's own cache is one folder for all processes, and empty.
    assert [path for path in tmp_path.rglob("*") if "torchinductor" not in path.name] == []
