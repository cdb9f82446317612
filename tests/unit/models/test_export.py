import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from exatrkx_service.models import export as exporting
from exatrkx_service.models.card import describe_data, intended_use, write_card
from exatrkx_service.models.export import WEIGHTS, ExportError, export, export_all
from exatrkx_service.models.features import NODE_FEATURES, node_features, orient_edges
from exatrkx_service.models.networks import NETWORKS
from exatrkx_service.models.weights import WeightsError, load_network, read_metadata, save_weights
from exatrkx_service.models.working_point import card_warning


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model_repo")
    export_all(WEIGHTS, folder, {"filter_cut": 0.2})
    return folder


def edges_of(event):
    n = len(event.space_points)
    return torch.triu_indices(n, n, offset=1)


def test_exported_networks_equal_the_eager_ones_on_new_shapes(repository, event):
    points = torch.from_numpy(event.space_points)
    with torch.inference_mode():
        for n in (0, 1, 7, len(points)):
            some = points[:n]
            edges = torch.triu_indices(n, n, offset=1)
            for stage in NETWORKS:
                scripted = torch.jit.load(repository / stage / "1" / "model.pt")
                eager = load_network(WEIGHTS / f"{stage}.safetensors", stage)
                if stage == "filtering":
                    eager.cut = 0.2
                inputs = (some,) if stage == "embedding" else (some, orient_edges(some, edges))
                assert torch.equal(scripted(*inputs), eager(*inputs))
    assert not list(repository.rglob("*.partial"))


def test_the_filter_cut_lies_in_the_exported_filter(tmp_path, event):
    points, edges = torch.from_numpy(event.space_points), edges_of(event)
    counts = []
    for cut in (0.0, 0.2, 1.0):
        export("filtering", WEIGHTS / "filtering.safetensors", tmp_path / "f.pt", filter_cut=cut)
        counts.append(torch.jit.load(tmp_path / "f.pt")(points, edges).shape[1])
    assert counts[0] == edges.shape[1] > counts[1] > counts[2] == 0


def test_a_script_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    script = torch.jit.script

    def wrong(network):
        network = load_network(WEIGHTS / "embedding.safetensors", "embedding")
        with torch.no_grad():
            network.head.bias += 1e-3
        return script(network)

    monkeypatch.setattr(exporting.torch.jit, "script", wrong)
    with pytest.raises(ExportError, match="differs from the eager network on check event 0"):
        export("embedding", WEIGHTS / "embedding.safetensors", tmp_path / "m.pt", filter_cut=0)
    assert list(tmp_path.iterdir()) == []


def test_weights_survive_saving(tmp_path):
    network = NETWORKS["gnn"](hidden=8, n_layers=1)
    save_weights(tmp_path / "w", "gnn", network, {"architecture": {"hidden": 8, "n_layers": 1}})
    loaded = load_network(tmp_path / "w", "gnn").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())


def damaged(folder, change):
    """A copy of the shipped embedding with its tensors or header changed."""
    network = load_network(WEIGHTS / "embedding.safetensors", "embedding")
    architecture = {"hidden": 128, "n_layers": 3, "dimension": 8}
    path = folder / "embedding.safetensors"
    save_weights(path, "embedding", network, {"architecture": architecture})
    tensors, header = load_file(path), {"stage": "embedding"}
    header["architecture"] = json.dumps(architecture)
    change(tensors, header)
    save_file(tensors, path, metadata=header)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, h: t.pop("head.bias"), r"tensor head\.bias: none, expected shape \(8,\)"),
        (lambda t, h: t.update(extra=torch.zeros(2)), r"tensor extra: shape \(2,\), expected none"),
        (
            lambda t, h: t.update({"head.bias": torch.zeros(3)}),
            r"tensor head\.bias: shape \(3,\), expected shape \(8,\)",
        ),
        (lambda t, h: t["head.bias"].fill_(float("nan")), r"head\.bias: expected finite values"),
        (
            lambda t, h: t["scale_nodes.inverse_std"].zero_(),
            r"scale_nodes\.inverse_std: expected values above 0",
        ),
        (
            lambda t, h: h.update(features='{"nodes": ["r", "phi", "z"]}'),
            r"header key features: \{'nodes': \['r', 'phi', 'z'\]\}, expected \{'nodes': \['r'",
        ),
        (lambda t, h: h.update(stage="gnn"), "header key stage: 'gnn', expected 'embedding'"),
        (lambda t, h: h.pop("stage"), "header key stage: None, expected 'embedding'"),
        (lambda t, h: h.pop("architecture"), "header key architecture: None"),
        (lambda t, h: h.update(architecture='{"depth": 1}'), "header key architecture"),
        (lambda t, h: h.update(architecture="{"), "header: expected JSON"),
    ],
)
def test_mismatching_weights_are_refused(tmp_path, change, message):
    path = damaged(tmp_path, change)
    with pytest.raises(WeightsError, match=message) as error:
        export("embedding", path, tmp_path / "model.pt", filter_cut=0.0)
    assert str(error.value).startswith(str(path))
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("factor", [0.001, 0.1, 1000])
def test_weights_with_the_scaling_of_other_units_are_refused(tmp_path, factor):
    def rescale(tensors, header):
        tensors["scale_nodes.mean"][0] *= factor
        tensors["scale_nodes.inverse_std"][0] /= factor

    path = damaged(tmp_path, rescale)
    with pytest.raises(
        ExportError, match=r"embedding\.safetensors: tensors scale_nodes: feature r"
    ):
        export("embedding", path, tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


def test_weights_trained_on_events_from_elsewhere_may_be_of_another_detector(tmp_path):
    def rescale(tensors, header):
        tensors["scale_nodes.mean"] *= 10
        header["sample"] = json.dumps("trackml")

    export("embedding", damaged(tmp_path, rescale), tmp_path / "model.pt")
    assert (tmp_path / "model.pt").exists()


def test_weights_say_which_features_they_were_trained_with(tmp_path):
    network = load_network(WEIGHTS / "gnn.safetensors", "gnn")
    save_weights(tmp_path / "w", "gnn", network, {})
    assert read_metadata(tmp_path / "w", "gnn")["features"]["nodes"] == list(NODE_FEATURES)
    points = torch.tensor([[3.0, 0.0, 4.0]])
    features = dict(zip(NODE_FEATURES, node_features(points)[0].tolist(), strict=True))
    assert features["distance"] == 5 and features["cos_phi"] == 1 and features["x"] == 3


@pytest.mark.parametrize("keep", [0, 4, 1000])
def test_truncated_weights_are_refused(tmp_path, keep):
    path = tmp_path / "gnn.safetensors"
    path.write_bytes((WEIGHTS / "gnn.safetensors").read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"gnn\.safetensors: expected a safetensors file"):
        load_network(path, "gnn")
    with pytest.raises(WeightsError, match="no such file"):
        load_network(tmp_path / "none.safetensors", "gnn")


def test_the_card_says_what_was_trained_on():
    own = {"source": "trackml", "path": "/data/t", "n_events": 90, "skip": 10}
    record = {"machine": {"cpu": "C", "gpu": None}, "software": {"torch": "2"}}
    data = describe_data(own, own | {"n_events": 10, "skip": 0}, record)
    assert data["training sample"] == "90 events of /data/t (trackml) after the first 10"
    assert data["evaluation sample"].startswith("10 events of /data/t (trackml); the networks")
    assert "heavy-neutral-lepton" in intended_use({}) and "heavy" not in intended_use(own)


def test_the_card_says_what_was_measured(tmp_path):
    for path in WEIGHTS.glob("*.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    performance = {
        "technical efficiency": {
            "value": 0.5, "low": 0.2366, "high": 0.7634, "passed": 5, "total": 10
        },
        "track purity": {"value": None, "low": None, "high": None, "passed": 0, "total": 0},
    }  # fmt: skip
    point = {"radius": 1.8, "k_max": 100, "filter_cut": 0.01}
    point |= {"labeling": "walkthrough", "walk_cut": 0.5}
    write_card(
        tmp_path,
        intended_use({}),
        {"evaluation": "10 events"},
        point | {"gnn_cut": 0.75, "threads": 1},
        performance,
        {"gnn": 4.0, "x": 2.5},
        definitions="What a track is.",
        confidence_level=0.683,
    )
    card = json.loads((tmp_path / "model_card.json").read_text())
    assert card["performance"] == performance
    assert card["working_point"] == point
    assert set(card["networks"]) == set(NETWORKS)
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "What a track is." in text
    assert "| quantity | value | 68.3 % interval | counts |" in text
    assert "| technical efficiency | 0.5000 | 0.2366 to 0.7634 | 5 of 10 |" in text
    assert "| track purity | – | – | 0 of 0 |" in text
    assert "| all | 6.50 |" in text
    assert "- labeling: walkthrough\n- walk_cut: 0.5\n" in text
    assert f"seed {card['networks']['gnn']['recipe']['seed']}" in text


@pytest.mark.parametrize(
    "change", [{}, {"device": "cuda"}, {"radius": 9.5}, {"k_max": 9, "gnn_cut": 0.01}]
)
def test_a_card_of_other_cuts_than_the_configuration_warns(config, change):
    shipped = config["pipeline"]
    warning = card_warning(WEIGHTS, shipped | change)
    if "device" in change or not change:
        assert warning is None
    else:
        expected = [f"{k} {shipped[k]} (pipeline.{k}: {value})" for k, value in change.items()]
        assert "model_card.json: measured at other cuts" in warning
        assert warning.endswith(", ".join(expected))


def test_a_card_that_cannot_be_read_warns_and_none_does_not(tmp_path, config):
    assert card_warning(tmp_path, config["pipeline"]) is None
    (tmp_path / "model_card.json").write_text("{}")
    assert "model_card.json: expected a model card with the key working_point" in card_warning(
        tmp_path, config["pipeline"]
    )
