"""What the readers of networks that others saved have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

_LFS = b"version https://git-lfs"


class ModelError(ValueError):
    """A file that is no network of this kind; the message names it and says what was expected."""


@dataclass
class Input:
    """A tensor that a file says its network takes.

    Args:
        name: of the tensor.
        dtype: such as ``float32``.
        shape: a number for each dimension that has only that size, a name or None for another.
    """

    name: str
    dtype: str
    shape: Sequence[int | str | None]


@dataclass
class ReadNetwork:
    """A network of a file.

    Args:
        module: what TorchScript takes in the place of it.
        inputs: what the file says that it takes.
        run: the network as the library of its format runs it, on the inputs as tensors.
    """

    module: nn.Module
    inputs: Sequence[Input]
    run: Callable[..., Tensor]


def check_pointer(path: Path) -> None:
    """Checks that a file is no pointer to another.

    Raises:
        ModelError: it is one, of Git LFS.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        if file.read(len(_LFS)) == _LFS:
            raise ModelError(f"{path}: a pointer of Git LFS; `git lfs pull` fetches the file")


def check_inputs(path: Path, inputs: Sequence[Input], n_features: int, n_inputs: int) -> None:
    """Checks what a file says of its inputs.

    Args:
        path: the file, for the message.
        inputs: what it says.
        n_features: number of features of a space point that the configuration names.
        n_inputs: 1 for features alone, 2 for features and edges.

    Raises:
        ModelError: the network takes something else, or takes one size alone.
    """
    if len(inputs) != n_inputs:
        names = ", ".join(tensor.name for tensor in inputs)
        raise ModelError(
            f"{path}: takes {len(inputs)} inputs ({names}), expected "
            + ("the features" if n_inputs == 1 else "the features and the edges")
        )
    wanted = (("float32", "N", n_features, 0), ("int64", 2, "E", 1))
    for tensor, (dtype, *shape, free) in zip(inputs, wanted, strict=False):
        expected = f"{dtype} [{shape[0]}, {shape[1]}]"
        found = f"{tensor.dtype} [{', '.join(str(size or '?') for size in tensor.shape)}]"
        if len(tensor.shape) != 2 or tensor.dtype != dtype:
            raise ModelError(f"{path}: input {tensor.name} is {found}, expected {expected}")
        if isinstance(tensor.shape[free], int):
            raise ModelError(
                f"{path}: input {tensor.name} is {found}: it was saved for that one size; expected "
                f"{expected} with any {shape[free]} (dynamic_shapes)"
            )
        if isinstance(tensor.shape[1 - free], int) and tensor.shape[1 - free] != shape[1 - free]:
            raise ModelError(f"{path}: input {tensor.name} is {found}, expected {expected}")
    free = [tensor.shape[k] for k, tensor in enumerate(inputs)]
    if n_inputs == 2 and free[0] is not None and free[0] == free[1]:
        raise ModelError(
            f"{path}: takes as many edges as space points ({free[0]}), expected any number of each"
        )
