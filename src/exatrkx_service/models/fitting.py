"""The training loop that the three stages share: seeded, and resumable after every epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exatrkx_service.models.data import TrainingEvent, augment
from exatrkx_service.models.weights import WeightsError

log = logging.getLogger(__name__)

LossFunction = Callable[[TrainingEvent], Tensor]
ProgressFunction = Callable[[int, float], None]

WARM_UP = 0.05  # fraction of the steps in which the learning rate rises
MAX_GRADIENT = 1.0


def fit(
    network: nn.Module,
    events: list[TrainingEvent],
    loss: LossFunction,
    recipe: dict[str, Any],
    checkpoint: Path | None = None,
    progress: ProgressFunction | None = None,
) -> None:
    """Trains a network in place, one event per step, with AdamW and a cosine learning rate.

    Randomness comes from (seed, epoch) alone, so a run that was interrupted and goes on from its
    checkpoint ends with the same weights as one that was not.

    Args:
        network: the network.
        events: training events; each is augmented anew in every epoch.
        loss: loss of one augmented event, a scalar with gradients.
        recipe: ``seed``, ``epochs``, ``learning_rate``, ``max_overlays``, and whatever else makes
            the run what it is, such as hashes of its inputs: a checkpoint of another recipe is
            refused.
        checkpoint: written after every epoch; if it exists the run goes on from it.
        progress: called after every epoch with its number and mean loss.

    Raises:
        WeightsError: the checkpoint is corrupt or belongs to another recipe.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe["learning_rate"])
    n_steps = recipe["epochs"] * len(events)
    first = 0
    if checkpoint is not None and Path(checkpoint).is_file():
        first = _resume(Path(checkpoint), network, optimizer, recipe)
    network.train()
    for epoch in range(first, recipe["epochs"]):
        rng = np.random.default_rng([recipe["seed"], epoch])
        total = 0.0
        for position, index in enumerate(rng.permutation(len(events))):
            rate = recipe["learning_rate"] * _schedule(epoch * len(events) + position, n_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            value = loss(augment(events[index], events, rng, recipe["max_overlays"]))
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT)
            optimizer.step()
            total += float(value.detach())
        log.info("epoch %d of %d: loss %.5f", epoch + 1, recipe["epochs"], total / len(events))
        if checkpoint is not None:
            _save(Path(checkpoint), epoch + 1, network, optimizer, recipe)
        if progress is not None:
            progress(epoch + 1, total / len(events))
    network.eval()


def _schedule(step: int, n_steps: int) -> float:
    """Learning rate as a fraction of its maximum: a linear rise, then half a cosine."""
    warm_up = max(1, round(WARM_UP * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))


def _save(
    path: Path, epoch: int, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: dict
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    state = {"epoch": epoch, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state | {"recipe": recipe}, temporary)
    temporary.replace(path)


def _resume(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: dict[str, Any]
) -> int:
    """Loads a checkpoint and returns the number of epochs it has behind it."""
    try:
        state = torch.load(path, weights_only=True)
        changed = sorted(
            key
            for key in state["recipe"].keys() | recipe.keys()
            if state["recipe"].get(key) != recipe.get(key)
        )
        if not changed:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch.load raises many kinds for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise WeightsError(f"{path}: expected a training checkpoint: {reason}") from error
    if changed:
        key = changed[0]
        raise WeightsError(
            f"{path}: checkpoint of another run: {key} is {state['recipe'].get(key)!r}, "
            f"expected {recipe.get(key)!r}; delete it to start anew"
        )
    return int(state["epoch"])
