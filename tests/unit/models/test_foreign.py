"""Networks of others, as TorchScript, behind the interface of ours."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exatrkx_service.identity import file_sha256, network_identity
from exatrkx_service.models.export import ExportError, _inputs, export, read_check_events
from exatrkx_service.models.features import orient_edges
from exatrkx_service.models.foreign import FEATURES, ModelError, ScaledFeatures
from exatrkx_service.pipeline.stages import StageError, load_scripted

SCALES = [1000, 3.141592653589793, 1000]
EMBEDDING = {"file": "x", "features": ["r", "phi", "z"], "scales": SCALES}
EDGES = EMBEDDING | {"output": "logit"}


class Edges(nn.Module):
    """A network on edges; ``shape`` -1: (E,), 1: (E, 1)."""

    def __init__(self, n_features: int = 3, flat: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(2 * n_features, 16), nn.ReLU(), nn.Linear(16, 1))
        self.flat = flat

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out = self.body(torch.cat([x[edge_index[0]], x[edge_index[1]]], 1)) * 40
        return out.flatten() if self.flat else out


class OnGPU(Edges):
    """Makes a tensor where it was trained."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        zeros = torch.zeros([x.size(0), x.size(1)], device=torch.device("cuda:0"))
        return self.body(torch.cat([(x + zeros)[edge_index[0]], x[edge_index[1]]], 1))


class Scores(Edges):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return torch.sigmoid(self.body(torch.cat([x[edge_index[0]], x[edge_index[1]]], 1)))


@pytest.fixture
def points():
    return max(read_check_events(), key=len)


def scaled(points):
    return torch.from_numpy(points) / torch.tensor(SCALES, dtype=torch.float32)


def save(path, module, traced_on=None):
    module = module.eval()
    script = torch.jit.trace(module, traced_on) if traced_on else torch.jit.script(module)
    torch.jit.save(script, path)
    return path


def exported(stage, file, model, cut=0.5):
    target = file.with_name("out.pt")
    export(stage, file, target, filter_cut=cut, model=model)
    return load_scripted(target, "cpu", network_identity(stage, file_sha256(file), cut, model))


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("traced", [True, False])
def test_the_gnn_of_others_gives_their_scores(points, tmp_path, flat, traced):
    network, inputs = Edges(flat=flat), _inputs("gnn", points)
    few = (scaled(points[:50]), torch.tensor([[0, 1, 2], [3, 4, 5]]))
    file = save(tmp_path / "theirs.pt", network, few if traced else None)
    run = exported("gnn", file, EDGES)
    expected = torch.sigmoid(network(scaled(points), inputs[1])).flatten()
    np.testing.assert_array_equal(run(*inputs).numpy(), expected.detach().numpy())
    assert run(inputs[0], inputs[1][:, :0]).shape == (0,)


def test_batch_normalisation_stays_what_it_is(points, tmp_path):
    network = Edges()
    network.body.insert(1, nn.BatchNorm1d(16))
    file, inputs = save(tmp_path / "b.pt", network), _inputs("gnn", points)
    expected = torch.sigmoid(network(scaled(points), inputs[1])).flatten()
    found = exported("gnn", file, EDGES)(*inputs)
    np.testing.assert_array_equal(found.numpy(), expected.detach().numpy())


def test_scores_stay_what_they_are(points, tmp_path):
    network, inputs = Scores(), _inputs("gnn", points)
    run = exported("gnn", save(tmp_path / "s.pt", network), EDGES | {"output": "score"})
    expected = network(scaled(points), inputs[1]).flatten().detach()
    np.testing.assert_array_equal(run(*inputs).numpy(), expected.numpy())


def test_the_filter_of_others_keeps_edges_from_its_cut_on(points, tmp_path):
    network, (positions, edges) = Edges(), _inputs("filtering", points)
    oriented = orient_edges(positions, edges)
    scores = torch.sigmoid(network(scaled(points), oriented)).flatten()
    cut = float(scores.median())
    run = exported("filtering", save(tmp_path / "f.pt", network), EDGES, cut)
    expected = oriented[:, scores >= cut]
    assert 0 < expected.size(1) < edges.size(1)
    np.testing.assert_array_equal(run(positions, edges).numpy(), expected.numpy())


def test_the_embedding_of_others(points, tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 5))
    model = {"file": "x", "features": ["eta", "phi"], "scales": [2, 1]}
    run = exported("embedding", save(tmp_path / "e.pt", network), model)
    r, phi, z = torch.from_numpy(points).T
    expected = network(torch.stack([torch.asinh(z / r) / 2, phi], 1)).detach()
    np.testing.assert_allclose(run(points).numpy(), expected.numpy(), atol=1e-6)
    assert run(points[:0]).shape == (0, 5)


def test_each_feature_is_what_its_name_says(points):
    r, phi, z = points.astype(np.float64).T
    expected = {
        **{"r": r, "phi": phi, "z": z, "x": r * np.cos(phi), "y": r * np.sin(phi)},
        **{"cos_phi": np.cos(phi), "sin_phi": np.sin(phi), "eta": np.arcsinh(z / r)},
        "distance": np.hypot(r, z),
    }
    assert sorted(expected) == sorted(FEATURES)
    found = ScaledFeatures(list(expected), [10] * len(expected))(torch.from_numpy(points))
    for column, values in zip(found.T, expected.values(), strict=True):
        np.testing.assert_allclose(column.numpy(), values / 10, rtol=1e-4, atol=1e-4)


def test_what_was_saved_on_a_gpu_runs_here(points, tmp_path):
    file = save(tmp_path / "gpu.pt", OnGPU())
    run = exported("gnn", file, EDGES)
    assert torch.isfinite(run(*_inputs("gnn", points))).all()
    # And what others gave stays as it was.
    assert "cuda:0" in str(torch.jit.load(file).graph)


def test_another_use_of_the_same_file_is_another_network(points, tmp_path):
    file, other = save(tmp_path / "g.pt", Edges()), EDGES | {"scales": [500, 1, 1000]}
    export("gnn", file, tmp_path / "out.pt", model=EDGES)
    with pytest.raises(ValueError, match="another network was put there"):
        load_scripted(
            tmp_path / "out.pt", "cpu", network_identity("gnn", file_sha256(file), None, other)
        )


class Pair(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor):
        return x, edge_index


class One(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class PerPoint(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return x[:, 0]


class NotFinite(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return torch.log(-torch.ones(edge_index.size(1)))


class Integers(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return edge_index[0]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Pair(), r"gives Tuple\[Tensor, Tensor\], expected one tensor"),
        (One(), r"takes 1 inputs \(x\), expected the features and the edges"),
        (PerPoint(), r"gives \(\d+,\) float32, expected \(\d+,\) or \(\d+, 1\), a number for each"),
        (NotFinite(), "gives numbers that are not finite"),
        (Integers(), r"gives \(\d+,\) int64, expected"),
        (
            Edges(44),
            r"does not run on \(\d+, 3\) float32 and .*: RuntimeError: mat1 and mat2",
        ),
    ],
)
def test_networks_of_another_kind_are_named(tmp_path, module, message):
    file = save(tmp_path / "theirs.pt", module)
    with pytest.raises(ModelError, match=f"theirs.pt: {message}") as error:
        export("gnn", file, tmp_path / "out.pt", model=EDGES)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.pt").exists()


def pickled(path):
    torch.save(Edges().state_dict(), path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "expected TorchScript"),
        (lambda path: path.mkdir(), "expected TorchScript, .*: .*Is a directory"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer"),
        (pickled, "expected TorchScript, as torch.jit.save writes it, or a name that ends in .pt2"),
    ],
)
def test_files_that_are_no_networks_are_named(tmp_path, write, message):
    write(tmp_path / "theirs.pt")
    with pytest.raises(ModelError, match=f"theirs.pt: {message}") as error:
        export("gnn", tmp_path / "theirs.pt", tmp_path / "out.pt", model=EDGES)
    assert "\n" not in str(error.value)


def test_logits_are_no_scores(tmp_path):
    file = save(tmp_path / "theirs.pt", Edges())
    with pytest.raises(ModelError, match="expected scores between 0 and 1; are they logits"):
        export("gnn", file, tmp_path / "out.pt", model=EDGES | {"output": "score"})


class Moody(Edges):
    """Gives something else for events of ``n`` points."""

    def __init__(self, n: int, mood: str):
        super().__init__()
        self.n, self.mood = n, mood

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out = self.body(torch.cat([x[edge_index[0]], x[edge_index[1]]], 1))
        if x.size(0) == self.n:
            if self.mood == "raises":
                raise ValueError("no such events, please")
            elif self.mood == "short":
                out = out[1:]
            else:
                out = out / 0.0
        return out


MOODS = {
    "raises": "ValueError: no such events, please",
    "short": r"(ValueError: )?gives \(?\d+,? .*, expected ",
    "infinite": "(ValueError: )?gives numbers that are not finite, expected finite ones",
}


@pytest.mark.parametrize("mood", MOODS)
def test_a_network_that_does_without_small_events_is_refused(tmp_path, mood):
    smallest = min(map(len, read_check_events()))
    file = save(tmp_path / "theirs.pt", Moody(smallest, mood))
    with pytest.raises(ModelError, match=f"theirs.pt: .*{MOODS[mood]}") as error:
        export("gnn", file, tmp_path / "out.pt", model=EDGES)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("mood", MOODS)
@pytest.mark.parametrize("stage", ["filtering", "gnn"])
def test_a_network_that_fails_later_is_named(points, tmp_path, stage, mood):
    file, few = save(tmp_path / "theirs.pt", Moody(50, mood)), points[:50]
    run, inputs = exported(stage, file, EDGES), _inputs(stage, few)
    with pytest.raises(StageError, match=f"out.pt: .*{MOODS[mood]}") as error:
        run(*inputs)
    assert "\n" not in str(error.value)
    run(*_inputs(stage, points[:51]))


class Spread(nn.Module):
    """Has no answer for one point."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / x.std(0)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :0]


def test_an_embedding_without_numbers_is_named(points, tmp_path):
    run = exported("embedding", save(tmp_path / "s.pt", Spread()), EMBEDDING)
    with pytest.raises(StageError, match=r"out\.pt: ValueError: gives numbers that are not finite"):
        run(points[:1])
    with pytest.raises(ModelError, match=r"gives \(\d+, 0\) float32, expected \(\d+, D\)"):
        exported("embedding", save(tmp_path / "n.pt", Nothing()), EMBEDDING)


class Random(Edges):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.body(torch.cat([x[edge_index[0]], x[edge_index[1]]], 1)) + torch.rand(1)


def test_a_network_that_answers_differently_each_time_is_refused(tmp_path):
    file = save(tmp_path / "theirs.pt", Random())
    with pytest.raises(ExportError, match="differs from the eager network"):
        export("gnn", file, tmp_path / "out.pt", model=EDGES)
