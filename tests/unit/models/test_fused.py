"""The networks with fused layers give what the networks give."""

import json

import numpy as np
import pytest
import torch

from exatrkx_service.identity import file_sha256, network_identity
from exatrkx_service.models import export as exporting
from exatrkx_service.models.export import WEIGHTS, ExportError, export
from exatrkx_service.models.features import edge_features, node_features, orient_edges
from exatrkx_service.models.fused import fuse
from exatrkx_service.models.networks import Embedding, Filter, InteractionGNN
from exatrkx_service.models.weights import load_network
from exatrkx_service.pipeline.stages import ModelFileError, load_scripted

pytestmark = pytest.mark.usefixtures("kernel_library")


def points_of(n, seed=0):
    """Points all over a detector, with some on the axis and some that coincide."""
    generator = np.random.default_rng(seed)
    points = np.stack(
        [
            generator.uniform(30, 1000, n),
            generator.uniform(-np.pi, np.pi, n),
            generator.uniform(-3000, 3000, n),
        ],
        axis=1,
    )
    points[: n // 10, 0] = 0
    points[n // 2 : n // 2 + n // 10] = points[:1]
    return torch.from_numpy(points.astype(np.float32))


def edges_of(n, n_edges, seed=0):
    numbers = np.random.default_rng(seed).integers(0, n, (2, n_edges), np.int32)
    return torch.from_numpy(numbers)


def shipped(stage):
    return load_network(WEIGHTS / f"{stage}.safetensors", stage)


# Some are not multiples of what is worked on together.
@pytest.mark.parametrize(("n", "n_edges"), [(0, 0), (1, 0), (3, 1), (100, 255), (700, 5003)])
@torch.inference_mode()
def test_gnn(n, n_edges):
    network = shipped("gnn")
    points = points_of(n)
    edges = orient_edges(points, edges_of(n, n_edges) if n else torch.zeros(2, 0, dtype=torch.int))
    scores = fuse(network)(points, edges)
    assert scores.shape == (n_edges,) and scores.dtype == torch.float32
    torch.testing.assert_close(scores, network(points, edges), atol=1e-3, rtol=0)


@pytest.mark.parametrize("n", [0, 1, 63, 700])
@torch.inference_mode()
def test_embedding(n):
    network = shipped("embedding")
    found, expected = fuse(network)(points_of(n)), network(points_of(n))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("n", "n_edges"), [(0, 0), (1, 0), (3, 1), (100, 255), (700, 5003)])
@torch.inference_mode()
def test_filter(n, n_edges):
    network = shipped("filtering")
    points = points_of(n)
    edges = edges_of(n, n_edges) if n else torch.zeros(2, 0, dtype=torch.int)
    scores = torch.sigmoid(network.logits(points, orient_edges(points, edges)))
    for cut in (0.0, 0.01, 0.5, 1.1):
        network.cut = cut
        kept, expected = fuse(network)(points, edges), network(points, edges)
        if not ((scores - cut).abs() < 1e-3).any():
            assert torch.equal(kept, expected)
        else:
            assert abs(kept.shape[1] - expected.shape[1]) <= ((scores - cut).abs() < 1e-3).sum()


@torch.inference_mode()
def test_the_layers_on_an_edge_are_those_of_the_formulas():
    """Each operator against the same in double precision, where rounding is no excuse."""
    points, edges = points_of(300), edges_of(300, 2000)
    raw = node_features(points)
    generator = torch.Generator().manual_seed(2)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator)

    inner, outer, e = numbers(300, 48), numbers(300, 48), numbers(2000, 48)
    first, second = numbers(8, 48) / 1000, numbers(48, 48) / 7
    scale, shift, bias, head = (numbers(48) for _ in range(4))
    wide = [t.double() for t in (inner, outer, e, first, second, scale, shift, bias, head)]
    inner64, outer64, e64, first64, second64, scale64, shift64, bias64, head64 = wide
    features = edge_features(raw.double(), edges)
    pair = inner64[edges[0]] + outer64[edges[1]]
    ops = torch.ops.exatrkx

    start = torch.relu(pair + features @ first64)
    found = ops.start_edges(raw, inner, outer, edges, first)
    torch.testing.assert_close(found.double(), start, atol=1e-3, rtol=1e-3)
    logits = torch.relu(start @ second64 + bias64) @ head64 + 0.25
    found = ops.filter_logits(raw, inner, outer, edges, first, second, bias, head, 0.25)
    torch.testing.assert_close(found.double(), logits, atol=1e-2, rtol=1e-3)
    h = torch.layer_norm(pair + e64 @ second64, [48], scale64, shift64, 1e-5)
    updated = e64 + torch.relu(h) @ second64.t() + bias64
    found = e.clone()
    arriving, leaving = ops.update_edges(
        found, inner, outer, edges, second, scale, shift, 1e-5, second.t().contiguous(), bias
    )
    torch.testing.assert_close(found.double(), updated, atol=1e-4, rtol=1e-4)
    for sums, ends in ((arriving, edges[1]), (leaving, edges[0])):
        expected = torch.zeros(300, 48, dtype=torch.double).index_add_(0, ends, updated)
        torch.testing.assert_close(sums.double(), expected, atol=1e-3, rtol=1e-4)
    found = ops.end_edges(e, inner, outer, edges, second, head, -0.5)
    expected = torch.relu(pair + e64 @ second64) @ head64 - 0.5
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-4)
    x = 10 * numbers(300, 48)
    expected = torch.layer_norm(x.double(), [48], 20 * scale64, shift64, 1e-5)
    ops.norm_silu(x, 20 * scale, shift, 1e-5)  # far from zero, on both sides, too
    torch.testing.assert_close(x.double(), torch.nn.functional.silu(expected), atol=1e-5, rtol=1e-5)
    x, weights = numbers(300, 48), numbers(144, 48) / 12
    h = torch.cat([x, arriving, leaving], dim=1).double() @ weights.double() + bias64
    h = torch.relu(torch.layer_norm(h, [48], scale64, shift64, 1e-5))
    expected = x.double() + h @ second64 + shift64
    ops.update_points(x, arriving, leaving, weights, bias, scale, shift, 1e-5, second, shift)
    torch.testing.assert_close(x.double(), expected, atol=1e-3, rtol=1e-4)


@torch.inference_mode()
def test_what_is_no_number_stays_none():
    points, edges = points_of(20), edges_of(20, 60)
    points[7] = float("nan")
    network = shipped("gnn")
    expected, scores = network(points, edges).isnan(), fuse(network)(points, edges)
    assert torch.equal(scores.isnan(), expected) and expected.any()
    network = shipped("filtering")
    kept = {tuple(edge) for edge in fuse(network)(points, edges).t().tolist()}
    assert kept == {tuple(edge) for edge in network(points, edges).t().tolist()}


@torch.inference_mode()
def test_tensors_of_other_shapes_are_errors():
    points, inner = torch.zeros(4, 8), torch.zeros(4, 32)
    edges = torch.tensor([[0, 1], [1, 2]], dtype=torch.int)
    ops = torch.ops.exatrkx
    for wrong in (
        lambda: ops.start_edges(points[:, :7], inner, inner, edges, torch.zeros(8, 32)),
        lambda: ops.start_edges(points, inner, inner[:3], edges, torch.zeros(8, 32)),
        lambda: ops.start_edges(points, inner, inner, edges, torch.zeros(7, 32)),
        lambda: ops.end_edges(inner, inner, inner, edges, torch.zeros(32, 32), inner[0], 0.0),
        lambda: ops.label_tracks(4, edges, torch.zeros(3), 0.5),
    ):
        with pytest.raises(RuntimeError, match="expected a tensor of shape"):
            wrong()
    for embedding, k_max in ((points, 0), (points[0], 9)):
        with pytest.raises(RuntimeError, match=r"expected shape \(N, D\), and k_max from 1 on"):
            ops.build_edges(embedding, 1.0, k_max)


@torch.inference_mode()
def test_threads_change_no_bit():
    points, edges = points_of(500), edges_of(500, 9000)
    network = fuse(shipped("gnn"))
    answers = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            answers.append(network(points, edges))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])


@torch.inference_mode()
def test_an_edge_to_a_point_that_is_not_there_is_an_error():
    for network in (fuse(shipped("gnn")), fuse(shipped("filtering"))):
        for bad in (-1, 5):
            with pytest.raises(IndexError, match=r"index|out of range"):
                network(points_of(5), torch.tensor([[0], [bad]], dtype=torch.int))


def test_widths_without_a_fused_form_stay_as_they_are():
    wide, odd = Filter(hidden=256), Filter(node_hidden=40)
    for network in (Embedding(hidden=100), wide, odd, Filter(hidden=40), InteractionGNN(hidden=24)):
        assert fuse(network) is network
    for network in (Filter(hidden=16), Embedding(hidden=1024), InteractionGNN(48, n_layers=1)):
        assert fuse(network) is not network


@pytest.mark.parametrize("stage", ["filtering", "gnn"])
def test_an_export_says_which_operators_are_in_it(kernel_library, tmp_path, stage):
    weights = WEIGHTS / f"{stage}.safetensors"
    cut = 0.1 if stage == "filtering" else None
    export(stage, weights, tmp_path / "m.pt", filter_cut=cut, kernel_library=kernel_library)
    sha256 = file_sha256(weights)
    fused = network_identity(stage, sha256, cut, None, kernel_library)
    plain = network_identity(stage, sha256, cut)
    run = load_scripted(tmp_path / "m.pt", "cpu", fused, kernel_library)
    assert run(points_of(20), orient_edges(points_of(20), edges_of(20, 60))).numel() > 0
    with pytest.raises(ModelFileError, match=rf"kernels {fused['kernels']}, expected none"):
        load_scripted(tmp_path / "m.pt", "cpu", plain)
    export(stage, weights, tmp_path / "m.pt", filter_cut=cut)
    with pytest.raises(ModelFileError, match=rf"kernels not recorded, expected {fused['kernels']}"):
        load_scripted(tmp_path / "m.pt", "cpu", fused, kernel_library)


@pytest.mark.parametrize("stage", ["filtering", "gnn"])
def test_a_fused_form_that_computes_something_else_is_not_written(
    kernel_library, tmp_path, monkeypatch, stage
):
    def wrong(network):
        form = fuse(network)
        form.head_bias += 0.1
        return form

    monkeypatch.setattr(exporting, "fuse", wrong)
    with pytest.raises(ExportError, match=rf"{stage} with fused layers differs from the network"):
        export(
            stage,
            WEIGHTS / f"{stage}.safetensors",
            tmp_path / "m.pt",
            filter_cut=0.1,
            kernel_library=kernel_library,
        )
    assert list(tmp_path.iterdir()) == []


def test_the_identity_of_a_network_is_text():
    identity = network_identity("gnn", "1", None, None, "/x/abc/lib.so")
    assert json.loads(json.dumps(identity)) == identity and identity["kernels"] == "abc"
    assert "kernels" not in network_identity("gnn", "1", None, {"file": "x"}, "/x/abc/lib.so")
