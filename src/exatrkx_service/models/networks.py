"""The three networks of the Exa.TrkX pipeline, small enough for one CPU core.

Architecture after Exa.TrkX, Eur. Phys. J. C 81, 876 (2021),
https://doi.org/10.1140/epjc/s10052-021-09675-8: an embedding (metric learning), a filter of edges,
and an interaction network on what is left. All of them can be scripted, take raw space points and
hold their feature scaling as buffers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import linecache
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from exatrkx_service.models.features import (
    N_EDGE_FEATURES,
    N_NODE_FEATURES,
    edge_features,
    node_features,
    orient_edges,
)


class Standardize(nn.Module):
    """Shifts and scales features by constants measured on the training sample."""

    def __init__(self, n_features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("inverse_std", torch.ones(n_features))

    def measure(self, features: Tensor) -> None:
        """Sets the constants so that these features (n, n_features) get mean 0 and variance 1."""
        self.mean.copy_(features.mean(dim=0))
        self.inverse_std.copy_(1.0 / features.std(dim=0).clamp(min=1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features, same shape."""
        return (features - self.mean) * self.inverse_std


def _mlp(n_in: int, hidden: int, n_layers: int) -> nn.Sequential:
    """``n_layers`` of linear, layer norm and SiLU, each ``hidden`` wide."""
    layers: list[nn.Module] = []
    for layer in range(n_layers):
        layers += [nn.Linear(hidden if layer else n_in, hidden), nn.LayerNorm(hidden), nn.SiLU()]
    return nn.Sequential(*layers)


class Embedding(nn.Module):
    """Maps space points to a space in which neighbours on a track are close.

    Args:
        hidden: width of the hidden layers.
        n_layers: number of hidden layers.
        dimension: D, dimension of the embedding space.
    """

    def __init__(self, hidden: int = 128, n_layers: int = 3, dimension: int = 8):
        super().__init__()
        self.scale_nodes = Standardize(N_NODE_FEATURES)
        self.body = _mlp(N_NODE_FEATURES, hidden, n_layers)
        self.head = nn.Linear(hidden, dimension)

    def forward(self, space_points: Tensor) -> Tensor:
        """Embeds points.

        Args:
            space_points: float32 (N, 3): r [mm], phi [rad], z [mm].

        Returns:
            float32 (N, D).
        """
        return self.head(self.body(self.scale_nodes(node_features(space_points))))


class PairEncoder(nn.Module):
    """First layer on an edge: W [x_inner, x_outer, edge features].

    The two products with x are done once per point and then gathered; events have over ten times
    more edges than points.

    Args:
        n_nodes: number of features of a point.
        n_edges: number of features of an edge.
        hidden: width of the result.
    """

    def __init__(self, n_nodes: int, n_edges: int, hidden: int):
        super().__init__()
        self.inner = nn.Linear(n_nodes, hidden)
        self.outer = nn.Linear(n_nodes, hidden, bias=False)
        self.edge = nn.Linear(n_edges, hidden, bias=False)

    def forward(self, x: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        """Pre-activations (E, hidden) from x (N, n_nodes), e (E, n_edges) and edges (2, E)."""
        return self.gather(self.inner(x), self.outer(x), e, edges)

    @torch.jit.export
    def gather(self, inner: Tensor, outer: Tensor, e: Tensor, edges: Tensor) -> Tensor:
        """The same from the products with x, ``inner`` and ``outer`` (N, hidden), done before."""
        pairs = inner.index_select(0, edges[0])
        # In place: a new array of this size costs more than the sum.
        pairs += outer.index_select(0, edges[1])
        pairs += self.edge(e)
        return pairs


class Filter(nn.Module):
    """Drops the edges that cannot be part of a track.

    Args:
        hidden: width of the layers on edges; the cost of the whole pipeline hangs on it.
        node_hidden: width of the layers on points.
        cut: edges with a lower score are dropped by ``forward``.
    """

    def __init__(self, hidden: int = 64, node_hidden: int = 96, cut: float = 0.0):
        super().__init__()
        self.cut = float(cut)
        self.cpu_part = 3072
        self.scale_nodes = Standardize(N_NODE_FEATURES)
        self.scale_edges = Standardize(N_EDGE_FEATURES)
        self.nodes = _mlp(N_NODE_FEATURES, node_hidden, 2)
        self.pairs = PairEncoder(node_hidden, N_EDGE_FEATURES, hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    @torch.jit.export
    def logits(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """Logit of the score of each edge.

        Args:
            space_points: float32 (N, 3): r [mm], phi [rad], z [mm].
            edges: int32 or int64 (2, E), oriented by ``orient_edges``.

        Returns:
            float32 (E,).
        """
        raw = node_features(space_points)
        x = self.nodes(self.scale_nodes(raw))
        inner, outer = self.pairs.inner(x), self.pairs.outer(x)
        # In parts that stay in the CPU's cache: twice as fast there. A GPU takes all at once.
        part_size = max(1, edges.size(1)) if edges.is_cuda else self.cpu_part
        logits: list[Tensor] = []
        for part in edges.split(part_size, dim=1):
            e = self.scale_edges(edge_features(raw, part))
            h = torch.relu_(self.pairs.gather(inner, outer, e, part))
            h = torch.relu_(self.hidden(h))
            logits.append(self.head(h).squeeze(1))
        return torch.cat(logits)

    def forward(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """Keeps edges whose score reaches the cut.

        Args:
            space_points: float32 (N, 3): r [mm], phi [rad], z [mm].
            edges: int32 or int64 (2, E), in any direction.

        Returns:
            (2, F), of the type of ``edges``: those kept, in their order, each from the point nearer
            to the origin to the one further out.
        """
        oriented = orient_edges(space_points, edges)
        score = torch.sigmoid(self.logits(space_points, oriented))
        return oriented.index_select(1, torch.nonzero(score >= self.cut).squeeze(1))


def _keep_source(function: Callable) -> None:
    """Takes over the source of a function that torch-geometric made, and removes its file.

    Each process that makes a layer leaves one in the folder for temporary files (release 2.8.1,
    ``template.py``). ``torch.jit.script`` reads the source; from now on ``linecache`` has it.
    """
    path = Path(inspect.getfile(function))
    if path.parent != Path(tempfile.gettempdir()) or not path.is_file():
        return
    source = path.read_text(encoding="utf-8")
    # Without a time it is not compared with the file.
    linecache.cache[str(path)] = (len(source), None, source.splitlines(keepends=True), str(path))
    compiled = Path(importlib.util.cache_from_source(str(path)))
    for file in (path, compiled):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it is not there, or others' are in it
        compiled.parent.rmdir()


class InteractionLayer(MessagePassing):
    """One round of an interaction network (Battaglia et al., arXiv:1612.00222), with residuals.

    Each edge is updated from its two points, then each point from the sums over the edges that
    arrive at it and over those that leave it.

    Args:
        hidden: width of points and edges.
    """

    def __init__(self, hidden: int):
        super().__init__(aggr="sum")
        _keep_source(self.propagate)
        self.pairs = PairEncoder(hidden, hidden, hidden)
        self.edge_norm = nn.LayerNorm(hidden)
        self.edge_out = nn.Linear(hidden, hidden)
        self.node_in = nn.Linear(3 * hidden, hidden)
        self.node_norm = nn.LayerNorm(hidden)
        self.node_out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, e: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Updated points (N, hidden) and edges (E, hidden)."""
        # torch.jit.script needs the next comment to know the arguments of `propagate`.
        # propagate_type: (e: Tensor)
        e = e + self.edge_out(torch.relu(self.edge_norm(self.pairs(x, e, edges))))
        size = (x.size(0), x.size(0))
        arriving = self.propagate(edges, e=e, size=size)
        leaving = self.propagate(edges.flip(0), e=e, size=size)
        h = self.node_norm(self.node_in(torch.cat([x, arriving, leaving], dim=1)))
        return x + self.node_out(torch.relu(h)), e

    def message(self, e: Tensor) -> Tensor:
        """What an edge sends to its point: its own state."""
        return e


class InteractionGNN(nn.Module):
    """Scores edges with an interaction network.

    Args:
        hidden: width of points and edges.
        n_layers: number of message-passing rounds.
    """

    def __init__(self, hidden: int = 32, n_layers: int = 4):
        super().__init__()
        self.scale_nodes = Standardize(N_NODE_FEATURES)
        self.scale_edges = Standardize(N_EDGE_FEATURES)
        self.nodes = _mlp(N_NODE_FEATURES, hidden, 2)
        self.pairs = PairEncoder(hidden, N_EDGE_FEATURES, hidden)
        self.layers = nn.ModuleList([InteractionLayer(hidden) for _ in range(n_layers)])
        self.last = PairEncoder(hidden, hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    @torch.jit.export
    def logits(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """Logit of the score of each edge; arguments as for ``forward``."""
        edges = edges.long()  # `propagate` takes no others
        raw = node_features(space_points)
        x = self.nodes(self.scale_nodes(raw))
        e = torch.relu(self.pairs(x, self.scale_edges(edge_features(raw, edges)), edges))
        for layer in self.layers:
            x, e = layer(x, e, edges)
        return self.head(torch.relu(self.last(x, e, edges))).squeeze(1)

    def forward(self, space_points: Tensor, filtered_edges: Tensor) -> Tensor:
        """Scores edges.

        Args:
            space_points: float32 (N, 3): r [mm], phi [rad], z [mm].
            filtered_edges: int32 or int64 (2, F), oriented as ``Filter`` returns them.

        Returns:
            float32 (F,): between 0 and 1, high for two consecutive points of one particle.
        """
        return torch.sigmoid(self.logits(space_points, filtered_edges))


NETWORKS: dict[str, type[nn.Module]] = {
    "embedding": Embedding,
    "filtering": Filter,
    "gnn": InteractionGNN,
}
