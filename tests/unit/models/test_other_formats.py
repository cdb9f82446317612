"""Networks of others as files of torch.export and as ONNX: they give what TorchScript gives."""

import re

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch_geometric.nn import GATConv, GCNConv

from exatrkx_service.identity import file_sha256, network_identity
from exatrkx_service.models.export import WEIGHTS, _inputs, export, read_check_events
from exatrkx_service.models.features import edge_features, node_features
from exatrkx_service.models.foreign import ModelError
from exatrkx_service.models.weights import load_network
from exatrkx_service.pipeline.building import build_edges
from exatrkx_service.pipeline.labeling import label_tracks
from exatrkx_service.pipeline.stages import load_scripted

FREE = ({0: Dim("N")}, {1: Dim("E")})
EXAMPLE = (torch.rand(9, 3), torch.zeros((2, 20), dtype=torch.int64))
FORMATS = (".pt", ".pt2", ".onnx")
USE = {"features": ["r", "phi", "z"], "scales": [1, 1, 1]}
EDGES = USE | {"output": "logit"}


class Logits(nn.Module):
    """The filter, or the GNN, as others would save it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.network.logits(x, edge_index)


class FilterLogits(Logits):
    """All edges at once: torch.export can't count parts."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        raw = node_features(x)
        points = self.network.nodes(self.network.scale_nodes(raw))
        e = self.network.scale_edges(edge_features(raw, edge_index))
        h = torch.relu(self.network.pairs(points, e, edge_index))
        return self.network.head(torch.relu(self.network.hidden(h))).squeeze(1)


WRAPPERS = {"embedding": lambda network: network, "filtering": FilterLogits, "gnn": Logits}


def save(path, module, inputs, dynamic=FREE):
    """A network in the format that the end of the name says."""
    module, dynamic = module.eval(), dynamic[: len(inputs)]
    if path.suffix == ".pt":
        torch.jit.save(torch.jit.script(module), path)
    elif path.suffix.lower() == ".pt2":
        with torch.no_grad():
            torch.export.save(torch.export.export(module, inputs, dynamic_shapes=dynamic), path)
    else:
        torch.onnx.export(
            module,
            inputs,
            path,
            dynamo=True,
            dynamic_shapes=dynamic,
            external_data=False,
            verbose=False,
        )
    return path


def exported(stage, file, model, cut=0.5):
    target, model = file.with_name(f"{file.name}.out.pt"), model | {"file": str(file)}
    export(stage, file, target, filter_cut=cut, model=model)
    return load_scripted(target, "cpu", network_identity(stage, file_sha256(file), cut, model))


@pytest.fixture(scope="module")
def events():
    return sorted(read_check_events(), key=len)


@pytest.fixture(scope="module")
def inputs(events):
    points, edges = _inputs("gnn", events[0])
    return points, edges.long()  # as others have them


@pytest.fixture(scope="module")
def stages(inputs, tmp_path_factory):
    """The three networks that are shipped, in each of the formats."""
    folder, found = tmp_path_factory.mktemp("networks"), {}
    for stage, wrapper in WRAPPERS.items():
        network = wrapper(load_network(WEIGHTS / f"{stage}.safetensors", stage))
        for ending in FORMATS:
            file = folder / f"{stage}{ending}"
            save(file, network, inputs[:1] if stage == "embedding" else inputs)
            found[stage, ending] = exported(stage, file, USE if stage == "embedding" else EDGES)
    return found


@pytest.mark.parametrize("ending", FORMATS[1:])
def test_each_network_in_another_format_gives_the_same_tracks(stages, events, ending):
    def tracks(points, **other):
        run = {stage: stages[stage, other.get(stage, ".pt")] for stage in WRAPPERS}
        edges = build_edges(run["embedding"](points).numpy(), 0.1, 50)
        kept = run["filtering"](points, edges).numpy()
        scores = run["gnn"](points, kept).numpy()
        return label_tracks(len(points), kept, scores, 0.5)

    for points in (*events, events[0][:2], events[0][:1], events[0][:0]):
        expected = tracks(points)
        assert len(points) < 9 or 9 < len(set(expected)) < len(points)
        for stage in WRAPPERS:
            np.testing.assert_array_equal(tracks(points, **{stage: ending}), expected)


class Small(nn.Module):
    """A network on edges; it computes what ``change`` makes of its answer."""

    def __init__(self, change=lambda answer, x: answer):
        super().__init__()
        self.layer, self.change = nn.Linear(6, 1), change

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        answer = self.layer(torch.cat([x[edge_index[0]], x[edge_index[1]]], 1))
        return self.change(answer, x)


class Convolution(nn.Module):
    """What others build GNNs of."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.norm, self.head = layer, nn.BatchNorm1d(3), nn.Linear(6, 1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.norm(self.layer(x, edge_index)) / (x.shape[0] + edge_index.shape[1] // 2)
        return self.head(torch.cat([x[edge_index[0]], x[edge_index[1]]], 1))


@pytest.mark.parametrize("ending", FORMATS[1:])
@pytest.mark.parametrize("layer", [GCNConv(3, 3), GATConv(3, 3, add_self_loops=False)])
def test_graph_convolutions_of_others(events, tmp_path, layer, ending):
    network, (points, edges) = Convolution(layer), map(torch.as_tensor, _inputs("gnn", events[1]))
    run = exported("gnn", save(tmp_path / f"theirs{ending}", network, EXAMPLE), EDGES)
    expected = torch.sigmoid(network(points, edges)).flatten()
    torch.testing.assert_close(run(points, edges), expected)


class OnPoints(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


AS_MANY = (torch.rand(9, 3), torch.zeros((2, 9), dtype=torch.int64))
DOUBLE = (EXAMPLE[0].double(), EXAMPLE[1])
SHORT = (EXAMPLE[0], EXAMPLE[1].int())


@pytest.mark.parametrize("ending", FORMATS[1:])
@pytest.mark.parametrize(
    ("network", "inputs", "dynamic", "message"),
    [
        (Small(), EXAMPLE, (None, None), r"input x is float32 \[9, 3\]: it was saved for that one"),
        (Small(), EXAMPLE, (FREE[0], None), r"input edge_index is int64 \[2, 20\]: it was saved"),
        (Small(), AS_MANY, ({0: Dim("N")}, {1: Dim("N")}), "takes as many edges as space points"),
        (Small().double(), DOUBLE, FREE, r"input x is float64 .*, expected float32 \[N, 3\]"),
        (
            Small(),
            SHORT,
            FREE,
            r"(input edge_index is int32 .*, expected int64 \[2, E\]|expected ONNX.*int32)",
        ),
        (
            OnPoints(),
            EXAMPLE[:1],
            FREE[:1],
            r"takes 1 inputs \(x\w*\), expected the features and the",
        ),
        (Small(lambda a, x: (a, x)), EXAMPLE, FREE, "gives .*, expected one tensor"),
        (
            Small(lambda a, x: x[:, 0]),
            EXAMPLE,
            FREE,
            r"gives \(\d+,\) float32, expected .* a number",
        ),
    ],
)
def test_networks_of_another_kind_are_named(tmp_path, ending, network, inputs, dynamic, message):
    file = save(tmp_path / f"theirs{ending}", network, inputs, dynamic)
    with pytest.raises(ModelError, match=f"theirs{ending}: {message}") as error:
        exported("gnn", file, USE | {"scales": [1000, 3, 1000]} | EDGES)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_other_features_than_the_network_takes_are_named(tmp_path):
    for ending in FORMATS[1:]:
        file = save(tmp_path / f"theirs{ending}", Small(), EXAMPLE)
        with pytest.raises(ModelError, match=r"is float32 \[\w+, 3\], expected float32 \[N, 2\]"):
            exported("gnn", file, EDGES | {"features": ["r", "z"], "scales": [1, 1]})


@pytest.mark.parametrize("ending", FORMATS[1:])
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "expected "),
        (lambda path: path.write_bytes(b"PK weights"), "expected "),
        (lambda path: path.mkdir(), "can't be read: Is a directory"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a pointer"),
        (
            lambda path: torch.save(Small().state_dict(), path),
            "(expected ONNX|no models/model.json)",
        ),
    ],
)
def test_files_that_are_no_networks_are_named(tmp_path, ending, write, message):
    write(tmp_path / f"theirs{ending}")
    with pytest.raises(ModelError, match=f"theirs{ending}: {message}") as error:
        export("gnn", tmp_path / f"theirs{ending}", tmp_path / "out.pt", model=EDGES)
    assert "\n" not in str(error.value)


def test_sizes_that_are_not_free_are_named(tmp_path):
    free = ({0: Dim("N", max=4096)}, FREE[1])
    file = save(tmp_path / "theirs.pt2", Small(), EXAMPLE, free)
    with pytest.raises(ModelError, match="input x has 0 to 4096 entries, expected any number"):
        exported("gnn", file, EDGES)
    odd = Small(lambda answer, x: answer * (2 if x.shape[0] % 2 else 1))
    file = save(tmp_path / "odd.pt2", odd, EXAMPLE, ({0: Dim.AUTO}, {1: Dim.AUTO}))
    with pytest.raises(ModelError, match=r"does not run on .*Guard failed: .* % 2 != 0"):
        exported("gnn", file, EDGES)


class Fixed(Small):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index) + torch.ones(edge_index.size(1), 1)


def test_a_size_that_onnx_only_calls_free_is_named(tmp_path):
    file = save(tmp_path / "theirs.onnx", Fixed(), EXAMPLE, (FREE[0], None))
    model = onnx.load(file)
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "E"
    onnx.save(model, file)
    with pytest.raises(
        ModelError, match=r"does not run on \(\d+, 3\) .*: .*while running Add node"
    ):
        exported("gnn", file, EDGES)


def test_onnx_that_onnx_runtime_can_not_run_is_named(tmp_path, monkeypatch):
    file = save(tmp_path / "theirs.onnx", Small(), EXAMPLE)
    model = onnx.load(file)
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, file)
    with pytest.raises(ModelError, match=r"expected ONNX, in one file: .*Unheard"):
        exported("gnn", file, EDGES)
    big = nn.Sequential(nn.Linear(3, 700), nn.Linear(700, 8)).eval()
    torch.onnx.export(big, EXAMPLE[:1], tmp_path / "big.onnx", dynamo=True, external_data=True)
    monkeypatch.chdir(tmp_path)  # from where ONNX Runtime would read them
    assert (tmp_path / "big.onnx.data").is_file()
    with pytest.raises(
        ModelError, match=r"big.onnx: expected ONNX, in one file: .*external_data=False"
    ) as error:
        exported("embedding", tmp_path / "big.onnx", USE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", FORMATS[1:])
@pytest.mark.parametrize(
    "change",
    [
        lambda answer, x: answer.squeeze(),  # nothing is left of the shape of one edge's
        lambda answer, x: answer.masked_fill(answer < 0, -torch.inf).sigmoid().logit(1e-3),
    ],
)
def test_what_others_do_with_an_answer(inputs, tmp_path, ending, change):
    network, (points, edges) = Small(change), inputs
    run = exported("gnn", save(tmp_path / f"THEIRS{ending.upper()}", network, EXAMPLE), EDGES)
    for few in (edges, edges[:, :1]):
        expected = torch.sigmoid(network(points, few)).flatten()
        torch.testing.assert_close(run(points, few), expected)


def test_onnx_that_gives_no_tensor_is_named(tmp_path):
    file = save(tmp_path / "theirs.onnx", Small(), EXAMPLE)
    model = onnx.load(file)
    answer = model.graph.output.pop()
    model.graph.node.append(onnx.helper.make_node("SequenceConstruct", [answer.name], ["list"]))
    model.graph.output.append(onnx.helper.make_tensor_sequence_value_info("list", 1, None))
    onnx.save(model, file)
    with pytest.raises(ModelError, match=r"gives list \(seq\(.*\), expected one tensor"):
        exported("gnn", file, EDGES)


def test_onnx_of_another_time_is_named(tmp_path):
    file = save(tmp_path / "theirs.onnx", Small(), EXAMPLE)
    model = onnx.load(file)
    model.ir_version = 99
    onnx.save(model, file)
    with pytest.raises(ModelError, match=r"expected ONNX, in one file: Unsupported model IR ver"):
        exported("gnn", file, EDGES)


def test_what_the_page_saves_is_read(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (root / "docs" / "own.md").read_text()
    names = {"network": Small(), "features": EXAMPLE[0], "edges": EXAMPLE[1]}
    for block in re.findall("```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    for ending in FORMATS[1:]:
        run = exported("gnn", tmp_path / f"gnn{ending}", EDGES)
        expected = torch.sigmoid(names["network"](*EXAMPLE)).flatten()
        torch.testing.assert_close(run(*EXAMPLE), expected)
