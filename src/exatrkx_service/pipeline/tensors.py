"""Names, types and shapes of what flows between the stages, and conversions without copies.

The names are the tensor names of the served models, so that the client, the server's
``config.pbtxt`` and the ensemble speak of the same things. N is the number of space points,
D the dimension of the embedding, E the number of edges built and F of edges that passed the filter.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Arrays received over the network are read-only views of the message. No stage writes to its
# inputs, so that is safe; torch would warn of every process's first. Set once, and not around each
# conversion: `warnings.catch_warnings` must not be used by several threads.
warnings.filterwarnings("ignore", "The given NumPy array is not writable")


@dataclass(frozen=True)
class StageSpec:
    """What one stage, or several in a row, take and give.

    Attributes:
        inputs: tensor names, in the order in which the stage's function takes them.
        output: name of the tensor it gives.
        optional: names of tensors that it takes besides, after the others, if there are any.
    """

    inputs: tuple[str, ...]
    output: str
    optional: tuple[str, ...] = ()

    def taken(self, tensors: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of what it takes of these tensors, by their names."""
        return (*self.inputs, *(name for name in self.optional if name in tensors))


DTYPES: dict[str, type] = {
    "space_points": np.float32,  # (N, 3): r [mm], phi [rad], z [mm]
    # (B,), of several events in one request, one after the other: how many space points each has.
    "event_sizes": np.int64,
    "embedding": np.float32,  # (N, D)
    "edges": np.int32,  # (2, E): half the bytes of an index that torch would give
    "filtered_edges": np.int32,  # (2, F), inner to outer space point
    "edge_scores": np.float32,  # (F,), in [0, 1]
    "labels": np.int64,  # (N,), -1 where the space point belongs to no track
    # Of the model that computes nothing.
    "payload": np.float32,  # (P,)
    "answer_size": np.int64,  # (1,)
    "answer": np.float32,  # (answer_size,)
}

SPECS: dict[str, StageSpec] = {
    "embedding": StageSpec(("space_points",), "embedding"),
    "building": StageSpec(("embedding",), "edges", ("event_sizes",)),
    "filtering": StageSpec(("space_points", "edges"), "filtered_edges"),
    "gnn": StageSpec(("space_points", "filtered_edges"), "edge_scores"),
    "labeling": StageSpec(("space_points", "filtered_edges", "edge_scores"), "labels"),
}

# All stages in a row.
WHOLE_SPEC = StageSpec(("space_points",), "labels", ("event_sizes",))
NULL_SPEC = StageSpec(("payload", "answer_size"), "answer")


def to_numpy(array: Any) -> np.ndarray:
    """Gives a numpy view of a numpy array or torch tensor.

    Host memory is shared, not copied; a tensor on a GPU is copied to the host.
    """
    if isinstance(array, np.ndarray):
        return array
    return array.detach().cpu().numpy()


def to_tensor(array: Any, device: str) -> Any:
    """Gives a torch tensor of a numpy array or tensor on ``device``; host memory is shared."""
    import torch

    if isinstance(array, np.ndarray):
        array = torch.from_numpy(array)
    return array.to(device)
