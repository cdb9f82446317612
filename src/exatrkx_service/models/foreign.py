"""Networks that others trained and saved as TorchScript, wrapped to the interface of ours.

A file of TorchScript is a program: whoever made it says what it does, here, in the client of S0 and
in the server. It is loaded only where the configuration names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from exatrkx_service.models.features import NODE_FEATURES, node_features, orient_edges
from exatrkx_service.pipeline.device import place_constants

# Columns that a network can ask for.
FEATURES = ("phi", *NODE_FEATURES)
_LFS = b"version https://git-lfs"
_N_INPUTS = {"embedding": 1, "filtering": 2, "gnn": 2}


class ModelError(ValueError):
    """A file that is no network of this kind; the message names it and says what was expected."""


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
        return self.model(self.features(space_points)).to(torch.float32)


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
        answer = self.model(self.features(space_points), edges).to(torch.float32).flatten()
        return torch.sigmoid(answer) if self.logit else answer


class ForeignFilter(nn.Module):
    """A filter of edges, as ``networks.Filter``; ``scores`` is called as ``EdgeScores``."""

    def __init__(self, scores: nn.Module, cut: float):
        super().__init__()
        self.scores, self.cut = scores, cut

    def forward(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """int64 (2, F): the edges whose score reaches the cut, each from the inner point on."""
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
    example: Sequence[Tensor],
    filter_cut: float | None = None,
) -> nn.Module:
    """The network in a file, with the interface of ours.

    Args:
        stage: ``embedding``, ``filtering`` or ``gnn``.
        path: the file.
        model: ``features``, ``scales`` and, but for the embedding, ``output``: see the schema of
            the configuration, ``pipeline.models``.
        example: inputs of the stage, with one space point and one edge at least.
        filter_cut: of the filter.

    Raises:
        ModelError: it is no TorchScript, takes or gives something else, or does not run here.
    """
    script = _load(path)
    features = ScaledFeatures(model["features"], model["scales"])
    _check_signature(path, script, _N_INPUTS[stage])
    space_points, *edges = example
    inputs = [features(space_points), *edges]
    try:
        answer = script(*inputs)
    except (RuntimeError, NotImplementedError) as error:
        shapes = " and ".join(f"{tuple(i.shape)} {str(i.dtype)[6:]}" for i in inputs)
        raise ModelError(
            f"{path}: does not run on {shapes}: {_reason(error)}; expected a network on the "
            f"features {', '.join(model['features'])} that runs on the CPU as well"
        ) from None
    _check_answer(stage, path, answer, len(space_points), edges)
    if stage == "embedding":
        return ForeignEmbedding(script, features, answer.size(1)).eval()
    scores = EdgeScores(script, features, model["output"] == "logit")
    if not scores.logit and not ((answer >= 0) & (answer <= 1)).all():
        low, high = float(answer.min()), float(answer.max())
        raise ModelError(
            f"{path}: gives {low:g} to {high:g}, expected scores between 0 and 1; "
            "are they logits (output: logit)?"
        )
    if stage == "filtering":
        return ForeignFilter(scores, float(filter_cut)).eval()
    return ForeignGNN(scores).eval()


def _load(path: Path) -> torch.jit.ScriptModule:
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(_LFS)) == _LFS
        if is_pointer:
            raise ModelError(f"{path}: a pointer of Git LFS; `git lfs pull` fetches the file")
        script = torch.jit.load(str(path), map_location="cpu").eval()
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path}: expected TorchScript, as torch.jit.save writes it; weights alone, pickles, "
            f"torch.export and ONNX are not read: {_reason(error)}"
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
        good, expected = answer.dim() == 2 and len(answer) == n_points, f"({n_points}, D)"
    else:
        n_edges = edges[0].size(1)
        good = found in ((n_edges,), (n_edges, 1))
        expected = f"({n_edges},) or ({n_edges}, 1), a number for each edge"
    if not good or not answer.is_floating_point():
        raise ModelError(f"{path}: gives {found} {str(answer.dtype)[6:]}, expected {expected}")
    if not torch.isfinite(answer).all():
        raise ModelError(f"{path}: gives numbers that are not finite, expected finite ones")


def _reason(error: Exception) -> str:
    """What went wrong, in one line: PyTorch's messages go on with where, and with advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = next((line for line in lines if re.match(r"\w*Error: ", line)), None)
    text = found or next(iter(lines), type(error).__name__)
    return text.partition(". ")[0]
