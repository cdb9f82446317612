"""The networks with their layers fused, by the operators of ``pipeline/kernels``.

Each gives what its network gives, up to rounding: the scaling of edge features lies in the weights,
and the layers on an edge are done one after the other while it is in the CPU's cache. On a GPU they
are the networks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exatrkx_service.models.features import node_features, orient_edges
from exatrkx_service.models.networks import (
    Embedding,
    Filter,
    InteractionGNN,
    InteractionLayer,
    PairEncoder,
    Standardize,
)

LANES, WIDEST = 16, 128  # hidden widths that the operators take: multiples, and at most


def _turned(layer: nn.Linear) -> Tensor:
    """Weights of a linear layer as the operators take them, (in, out)."""
    return layer.weight.detach().t().clone(memory_format=torch.contiguous_format)


class FusedDense(nn.Module):
    """A layer on points: linear, layer norm and SiLU, the last two as one."""

    def __init__(self, linear: nn.Linear, norm: nn.LayerNorm):
        super().__init__()
        self.linear, self.norm, self.eps = linear, norm, float(norm.eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, out) of (N, in)."""
        x = self.linear(x)
        torch.ops.exatrkx.norm_silu(x, self.norm.weight, self.norm.bias, self.eps)
        return x


def fused_layers(body: nn.Sequential) -> nn.Sequential:
    """Layers as ``networks._mlp`` makes them."""
    return nn.Sequential(*map(FusedDense, body[0::3], body[1::3]))


class FusedPairs(nn.Module):
    """The first layer on an edge: what its points give, and the weights of its own features.

    Args:
        pairs: the layer.
        scale: the scaling of its edge features, which goes into the weights.
    """

    def __init__(self, pairs: PairEncoder, scale: Standardize | None = None):
        super().__init__()
        weights = _turned(pairs.edge)
        shift = torch.zeros(weights.size(1))
        if scale is not None:
            weights = weights * scale.inverse_std[:, None]
            shift = -(scale.mean @ weights)
        self.inner, self.outer = pairs.inner, pairs.outer
        self.register_buffer("weights", weights)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the inner and the outer point of an edge give to it, (N, hidden) each."""
        return self.inner(x) + self.shift, self.outer(x)


class FusedEmbedding(nn.Module):
    """The embedding; argument and result of ``forward`` are those of ``networks.Embedding``."""

    def __init__(self, network: Embedding):
        super().__init__()
        self.plain = network
        self.body = fused_layers(network.body)

    def forward(self, space_points: Tensor) -> Tensor:
        """Embeds points: float32 (N, D)."""
        if space_points.is_cuda:
            return self.plain(space_points)
        features = self.plain.scale_nodes(node_features(space_points))
        return self.plain.head(self.body(features))


class FusedFilter(nn.Module):
    """The filter; arguments and result of ``forward`` are those of ``networks.Filter``."""

    def __init__(self, network: Filter):
        super().__init__()
        self.plain = network
        self.nodes = fused_layers(network.nodes)
        self.pairs = FusedPairs(network.pairs, network.scale_edges)
        self.register_buffer("second", _turned(network.hidden))
        self.register_buffer("head", network.head.weight.detach()[0].contiguous())
        self.head_bias = float(network.head.bias)

    def forward(self, space_points: Tensor, edges: Tensor) -> Tensor:
        """Keeps edges whose score reaches the cut: int32 (2, F), oriented."""
        if edges.is_cuda:
            return self.plain(space_points, edges)
        oriented = orient_edges(space_points, edges)
        raw = node_features(space_points)
        inner, outer = self.pairs(self.nodes(self.plain.scale_nodes(raw)))
        logits = torch.ops.exatrkx.filter_logits(
            raw,
            inner,
            outer,
            oriented,
            self.pairs.weights,
            self.second,
            self.plain.hidden.bias,
            self.head,
            self.head_bias,
        )
        kept = torch.nonzero(torch.sigmoid(logits) >= self.plain.cut).squeeze(1)
        return oriented.index_select(1, kept)


class FusedLayer(nn.Module):
    """One round of the interaction network; it changes points and edges in place."""

    def __init__(self, layer: InteractionLayer):
        super().__init__()
        self.pairs = FusedPairs(layer.pairs)
        self.edge_norm, self.node_norm = layer.edge_norm, layer.node_norm
        self.edge_eps, self.node_eps = float(layer.edge_norm.eps), float(layer.node_norm.eps)
        self.register_buffer("edge_out", _turned(layer.edge_out))
        self.register_buffer("edge_bias", layer.edge_out.bias.detach())
        self.register_buffer("node_in", _turned(layer.node_in))
        self.register_buffer("node_in_bias", layer.node_in.bias.detach())
        self.register_buffer("node_out", _turned(layer.node_out))
        self.register_buffer("node_bias", layer.node_out.bias.detach())

    def forward(self, x: Tensor, e: Tensor, edges: Tensor) -> None:
        """Updates points ``x`` (N, hidden) and edges ``e`` (E, hidden)."""
        inner, outer = self.pairs(x)
        arriving, leaving = torch.ops.exatrkx.update_edges(
            e,
            inner,
            outer,
            edges,
            self.pairs.weights,
            self.edge_norm.weight,
            self.edge_norm.bias,
            self.edge_eps,
            self.edge_out,
            self.edge_bias,
        )
        torch.ops.exatrkx.update_points(
            x,
            arriving,
            leaving,
            self.node_in,
            self.node_in_bias,
            self.node_norm.weight,
            self.node_norm.bias,
            self.node_eps,
            self.node_out,
            self.node_bias,
        )


class FusedGNN(nn.Module):
    """The GNN; arguments and result of ``forward`` are those of ``networks.InteractionGNN``."""

    def __init__(self, network: InteractionGNN):
        super().__init__()
        self.plain = network
        self.nodes = fused_layers(network.nodes)
        self.pairs = FusedPairs(network.pairs, network.scale_edges)
        self.layers = nn.ModuleList([FusedLayer(layer) for layer in network.layers])
        self.last = FusedPairs(network.last)
        self.register_buffer("head", network.head.weight.detach()[0].contiguous())
        self.head_bias = float(network.head.bias)

    def forward(self, space_points: Tensor, filtered_edges: Tensor) -> Tensor:
        """Scores edges: float32 (F,)."""
        if filtered_edges.is_cuda:
            return self.plain(space_points, filtered_edges)
        raw = node_features(space_points)
        x = self.nodes(self.plain.scale_nodes(raw))
        inner, outer = self.pairs(x)
        e = torch.ops.exatrkx.start_edges(raw, inner, outer, filtered_edges, self.pairs.weights)
        for layer in self.layers:
            layer(x, e, filtered_edges)
        inner, outer = self.last(x)
        logits = torch.ops.exatrkx.end_edges(
            e, inner, outer, filtered_edges, self.last.weights, self.head, self.head_bias
        )
        return torch.sigmoid(logits)


def fuse(network: nn.Module) -> nn.Module:
    """The fused form of a network; the network itself where there is none for it or its widths.

    The operators must be known, see ``pipeline.kernels.load``.
    """
    forms = {Embedding: FusedEmbedding, Filter: FusedFilter, InteractionGNN: FusedGNN}
    if type(network) not in forms:
        return network
    norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    widths = [network.head.in_features, *(norm.normalized_shape[0] for norm in norms)]
    # The layers on points alone may be wider than those on edges.
    too_wide = type(network) is not Embedding and widths[0] > WIDEST
    if too_wide or any(width % LANES for width in widths):
        return network
    return forms[type(network)](network).eval()
