"""Geometric cuts in the place of networks: what they keep, and how they are exported."""

import json

import numpy as np
import pytest
import torch

from exatrkx_service.identity import with_networks
from exatrkx_service.models.data import is_true
from exatrkx_service.models.export import WEIGHTS, export_all
from exatrkx_service.models.geometric import GeometricCuts, GeometricEmbedding, build
from exatrkx_service.pipeline.building import build_edges
from exatrkx_service.pipeline.stages import load_scripted, script_path

EMBEDDING = {"phi": 0.4, "eta": 0.7, "log_distance": 1.2}
CUTS = {"phi_slope_max": 0.01, "z0_max": 1000}


def points(*rows):
    return torch.tensor(rows, dtype=torch.float32)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # In phi, also on both sides of pi; in pseudorapidity; in the distance from the origin.
        ((100, 0, 0), (100, 0.04, 0)),
        ((100, np.pi - 0.01, 0), (100, 0.03 - np.pi, 0)),
        ((100, 1, 100 * np.sinh(1)), (100 / np.cosh(1.07) * np.cosh(1), 1, 0)),
        ((100, 1, 0), (100 * np.exp(0.12), 1, 0)),
    ],
)
def test_the_keys_of_the_embedding_are_its_widths(first, second):
    second = list(second)
    if first[2]:  # at the same distance from the origin
        second[2] = second[0] * np.sinh(1.07)
    found = GeometricEmbedding(**EMBEDDING)(points(first, second))
    assert float((found[0] - found[1]).norm()) == pytest.approx(0.1, rel=1e-3)


def test_a_point_at_the_origin_is_somewhere():
    assert torch.isfinite(GeometricEmbedding(**EMBEDDING)(points((0, 0, 0)))).all()


@pytest.mark.parametrize(
    ("first", "second", "good"),
    [
        ((100, 0, 0), (200, 0.99, 0), True),
        ((100, 0, 0), (200, 1.01, 0), False),
        ((100, np.pi - 0.5, 0), (200, 0.49 - np.pi, 0), True),
        ((100, np.pi - 0.5, 0), (200, 0.51 - np.pi, 0), False),
        # It meets the beam at twice the first z less the second.
        ((100, 0, 500), (200, 0, 0), True),
        ((100, 0, 501), (200, 0, 0), False),
        ((200, 0, -1), (100, 0, -500), True),
        # At the same r it meets the beam nowhere, or everywhere.
        ((100, 0, 0), (100, 0, 10), False),
        ((100, 0, 0), (100, 0.1, 0), False),
    ],
)
def test_an_edge_is_kept_within_both_cuts(first, second, good):
    pair = points(first, second)
    for edges in (torch.tensor([[0], [1]]), torch.tensor([[1], [0]])):
        assert GeometricCuts(**CUTS)(pair, edges).tolist() == [float(good)]
        kept = build("filtering", CUTS, 0.5)(pair, edges)
        assert kept.shape == (2, int(good))


def test_they_are_exported_as_networks_are(tmp_path, event):
    pipeline = {
        "weights": str(WEIGHTS),
        "filter_cut": 0.5,
        "geometric": {"embedding": EMBEDDING, "filtering": CUTS},
    }
    export_all(WEIGHTS, tmp_path, pipeline)
    networks = with_networks(pipeline)["networks"]
    assert json.loads(networks["embedding"]["model"]) == EMBEDDING
    assert "weights_sha256" not in networks["filtering"] and "model" not in networks["gnn"]
    embedding, filtering = (
        load_scripted(script_path(tmp_path, stage), "cpu", networks[stage])
        for stage in ("embedding", "filtering")
    )
    space = torch.from_numpy(event.space_points)
    with torch.inference_mode():
        edges = build_edges(embedding(space).numpy(), 1.0, 100)
        kept = filtering(space, torch.from_numpy(edges)).numpy()
    # Straight tracks from near the origin, as they are made here: hardly one is lost.
    n_true = len(event.truth_edges.T)
    assert is_true(event, edges).sum() > 0.95 * n_true
    assert is_true(event, kept).sum() > 0.95 * n_true
    assert n_true < kept.shape[1] < edges.shape[1]
