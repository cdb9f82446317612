"""Networks that others trained and saved, wrapped to the interface of ours.

Such a file is a program: whoever made it says what it does, here, in the client of S0 and in the
server. It is loaded only where the configuration names it. The end of its name says what it is:
``.pt2`` a file of ``torch.export.save``, ``.onnx`` ONNX, and any other TorchScript.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from exatrkx_service.models.features import NODE_FEATURES, node_features, orient_edges
from exatrkx_service.models.network_file import (
    ModelError,
    check_inputs,
    check_pointer,
)
from exatrkx_service.pipeline.device import place_constants
from exatrkx_service.pipeline.stages import reason

# Columns that a network can ask for.
FEATURES = ("phi", *NODE_FEATURES)
_OTHERS = (".pt2", ".onnx")  # ends of names of files that are no TorchScript
_N_INPUTS = {"embedding": 1, "filtering": 2, "gnn": 2}


class ScaledFeatures(nn.Module):
    """The columns that a network takes, each divided by its scale.

    Args:
        names: some of ``FEATURES``, in the order of the columns.
        scales: of each.
    """

    def __init__(self, names: Sequence[str], scales: Sequence[float]):
        super().__init__()
        self.register_buffer("columns", torch.tensor([FEATURES.index(name) for name in names]))
        self.register_buffer("scales", torch.tensor(list(scales), dtype=torch.float32))

    def forward(self, space_points: Tensor) -> Tensor:
        """float32 (N, columns) from float32 (N, 3): r [mm], phi [rad], z [mm]."""
        known = torch.cat([space_points[:, 1:2], node_features(space_points)], dim=1)
        return known.index_select(1, self.columns) / self.scales


class ForeignEmbedding(nn.Module):
    """An embedding; its own input is float32 (N, columns), its output (N, D)."""

    def __init__(self, model: torch.jit.ScriptModule, features: ScaledFeatures, dimension: int):
        super().__init__()
        self.model, self.features, self.dimension = model, features, dimension

    def forward(self, space_points: Tensor) -> Tensor:
        """As of ``networks.Embedding``."""
        if space_points.size(0) == 0:
            return torch.zeros([0, self.dimension], device=space_points.device)
        answer = self.model(self.features(space_points)).to(torch.float32)
        if answer.dim() != 2 or answer.size(0) != space_points.size(0):
            raise ValueError(
                f"gives {list(answer.shape)} for {space_points.size(0)} space points, expected a "
                "row for each"
            )
        if not torch.isfinite(answer).all():
            raise ValueError("gives numbers that are not finite, expected finite ones")
        return answer


class EdgeScores(nn.Module):
    """A network on edges; its own inputs are float32 (N, columns) and int64 (2, E).

    Args:
        model: gives one number for each edge, (E,) or (E, 1).
        features: what it takes of the space points.
        logit: whether these are logits; scores otherwise.
    """

    def __init__(self, model: torch.jit.ScriptModule, features: ScaledFeatures, logit: bool):
        super().__init__()
        self.model, self.features, self.logit = model, features, logit

    def forward(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """float32 (E,): between 0 and 1."""
        if edges.size(1) == 0:  # others' networks need not know what to do with none
            return torch.zeros([0], device=space_points.device)
        answer = self.model(self.features(space_points), edges.long()).to(torch.float32).flatten()
        if answer.size(0) != edges.size(1):
            raise ValueError(
                f"gives {answer.size(0)} numbers for {edges.size(1)} edges, expected one for each"
            )
        if not torch.isfinite(answer).all():  # in a comparison it would lose the edge
            raise ValueError("gives numbers that are not finite, expected finite ones")
        return torch.sigmoid(answer) if self.logit else answer


class ForeignFilter(nn.Module):
    """A filter of edges, as ``networks.Filter``; ``scores`` is called as ``EdgeScores``."""

    def __init__(self, scores: nn.Module, cut: float):
        super().__init__()
        self.scores, self.cut = scores, cut

    def forward(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """int32 (2, F): the edges whose score reaches the cut, each from the inner point on."""
        oriented = orient_edges(space_points, edges)
        keep = self.scores(space_points, oriented) >= self.cut
        return oriented.index_select(1, torch.nonzero(keep).squeeze(1))


class ForeignGNN(nn.Module):
    """A GNN, as ``networks.InteractionGNN``."""

    def __init__(self, scores: EdgeScores):
        super().__init__()
        self.scores = scores

    def forward(self, space_points: Tensor, filtered_edges: Tensor) -> Tensor:
        """float32 (F,): the score of each edge."""
        return self.scores(space_points, filtered_edges)


@torch.inference_mode()
def wrap(
    stage: str,
    path: Path,
    model: Mapping[str, Any],
    examples: Sequence[Sequence[Tensor]],
    filter_cut: float | None = None,
) -> nn.Module:
    """The network in a file, with the interface of ours.

    Args:
        stage: ``embedding``, ``filtering`` or ``gnn``.
        path: the file.
        model: ``features``, ``scales`` and, but for the embedding, ``output``: see the schema of
            the configuration, ``pipeline.models``.
        examples: inputs of the stage for several events; the first one has one space point and one
            edge at least.
        filter_cut: of the filter.

    Raises:
        ModelError: it is no network, takes or gives something else, or does not run here.
    """
    features = ScaledFeatures(model["features"], model["scales"])
    examples = [(points, *(edges.long() for edges in others)) for points, *others in examples]
    if path.suffix.lower() in _OTHERS:
        script = _read(stage, path, features, examples)
    else:
        script = _load(path)
        _check_signature(path, script, _N_INPUTS[stage])
    for example in examples:
        answer = _run(path, script, features, example)
        _check_answer(stage, path, answer, len(example[0]), example[1:])
        if model.get("output") == "score" and not ((answer >= 0) & (answer <= 1)).all():
            low, high = float(answer.min()), float(answer.max())
            raise ModelError(
                f"{path}: gives {low:g} to {high:g}, expected scores between 0 and 1; "
                "are they logits (output: logit)?"
            )
    if stage == "embedding":
        return ForeignEmbedding(script, features, answer.size(1)).eval()
    scores = EdgeScores(script, features, model["output"] == "logit")
    if stage == "filtering":
        return ForeignFilter(scores, float(filter_cut)).eval()
    return ForeignGNN(scores).eval()


def _run(
    path: Path, network: Callable, features: ScaledFeatures, example: Sequence[Tensor]
) -> Tensor:
    """The answer of a network to a stage's inputs."""
    inputs = [features(example[0]), *example[1:]]
    try:
        return network(*inputs)
    except (
        *(RuntimeError, NotImplementedError, AssertionError, IndexError),
        torch.jit.Error,  # what TorchScript raises by itself
    ) as error:
        shapes = " and ".join(f"{tuple(i.shape)} {str(i.dtype)[6:]}" for i in inputs)
        raise ModelError(
            f"{path}: does not run on {shapes}: {reason(error)}; expected a network on "
            f"{features.scales.numel()} features that runs on the CPU as well"
        ) from None


def _read(
    stage: str, path: Path, features: ScaledFeatures, examples: Sequence[Sequence[Tensor]]
) -> nn.Module:
    """A network of another format as TorchScript, which gives what its own library gives."""
    try:
        check_pointer(path)
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from None
    # Imported here, for the one takes a second.
    if path.suffix.lower() == ".pt2":
        from exatrkx_service.models.torch_export import read
    else:
        from exatrkx_service.models.onnx_network import read
    network = read(path)
    check_inputs(path, network.inputs, features.scales.numel(), _N_INPUTS[stage])
    points, *edges = examples[0]
    few = [
        (points[:n], *(torch.stack([torch.arange(n - 1), torch.arange(1, n)]) for _ in edges))
        for n in (3, 2, 1)
        if n > 1 or not edges  # without edges it is not asked
    ]
    for example in (*examples, *few):
        expected = _run(path, network.run, features, example)
        _check_answer(stage, path, expected, len(example[0]), example[1:])
        if not torch.equal(_run(path, network.module, features, example), expected):
            counts = f"{len(example[0])} space points"
            counts += f" and {example[1].size(1)} edges" if edges else ""
            raise ModelError(
                f"{path}: gives something else as TorchScript, with {counts}, expected the same"
            )
    return network.module


def _load(path: Path) -> torch.jit.ScriptModule:
    try:
        check_pointer(path)
        script = torch.jit.load(str(path), map_location="cpu").eval()
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path}: expected TorchScript, as torch.jit.save writes it, or a name that ends in "
            f"{' or '.join(_OTHERS)}; weights alone and pickles are not read: {reason(error)}"
        ) from None
    place_constants(script, "cpu")
    return script


def _check_signature(path: Path, script: torch.jit.ScriptModule, n_inputs: int) -> None:
    schema = script.forward.schema
    given = schema.arguments[1:]
    needed = [argument for argument in given if not argument.has_default_value()]
    if not len(needed) <= n_inputs <= len(given):
        names = ", ".join(argument.name for argument in given)
        raise ModelError(
            f"{path}: takes {len(needed)} inputs ({names}), expected "
            + ("the features" if n_inputs == 1 else "the features and the edges")
        )
    kinds = [str(value.type) for value in schema.returns]
    if kinds != ["Tensor"]:
        raise ModelError(f"{path}: gives {', '.join(kinds)}, expected one tensor")


def _check_answer(
    stage: str, path: Path, answer: Tensor, n_points: int, edges: Sequence[Tensor]
) -> None:
    found = tuple(answer.shape)
    if stage == "embedding":
        good = answer.dim() == 2 and len(answer) == n_points and answer.size(1) > 0
        expected = f"({n_points}, D)"
    else:
        n_edges = edges[0].size(1)
        # What squeezes (E, 1) has no dimension left for one edge.
        good = found in ((n_edges,), (n_edges, 1)) or (found == () and n_edges == 1)
        expected = f"({n_edges},) or ({n_edges}, 1), a number for each edge"
    if not good or not answer.is_floating_point():
        raise ModelError(f"{path}: gives {found} {str(answer.dtype)[6:]}, expected {expected}")
    if not torch.isfinite(answer).all():
        raise ModelError(f"{path}: gives numbers that are not finite, expected finite ones")
