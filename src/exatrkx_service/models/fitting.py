"""The training loop that the three stages share: seeded, with early stop, resumable."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from exatrkx_service.models.data import TrainingEvent, augment
from exatrkx_service.models.losses import Loss
from exatrkx_service.models.weights import WeightsError

log = logging.getLogger(__name__)

LossFunction = Callable[[TrainingEvent], Loss]
ValidateFunction = Callable[[], dict[str, Any]]
ProgressFunction = Callable[[int, float], None]
Curve = list[dict[str, Any]]

WARM_UP = 0.05  # fraction of the steps in which the learning rate rises
MAX_GRADIENT = 1.0


def fit(
    network: nn.Module,
    events: list[TrainingEvent],
    loss: LossFunction,
    validate: ValidateFunction,
    recipe: dict[str, Any],
    checkpoint: Path | None = None,
    progress: ProgressFunction | None = None,
) -> Curve:
    """Trains a network in place, one event per step, with AdamW and a cosine learning rate.

    At the end the network has the weights of the epoch with the smallest validation loss. Training
    stops before the last epoch once ``patience`` epochs in a row were no better than the best.

    Randomness comes from (seed, epoch) alone, so a run that was interrupted and goes on from its
    checkpoint ends with the same weights as one that was not.

    Args:
        network: the network.
        events: training events; each is augmented anew in every epoch.
        loss: loss of one augmented event.
        validate: called after every epoch; gives ``validation_loss`` and what else is to be in the
            epoch's row of the curve.
        recipe: ``seed``, ``epochs``, ``patience``, ``learning_rate``, ``max_overlays``, and
            whatever else makes the run what it is, such as hashes of its inputs: a checkpoint of
            another recipe is refused.
        checkpoint: written after every epoch; if it exists the run goes on from it.
        progress: called after every epoch with its number and mean loss.

    Returns:
        One row per epoch: ``epoch`` (from 1), ``training_loss``, what ``validate`` gave, and
        ``seconds``, its wall time [s].

    Raises:
        WeightsError: the checkpoint is corrupt or belongs to another recipe.
        ValueError: a loss is not finite.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe["learning_rate"])
    curve: Curve = []
    best = _copy(network)
    if checkpoint is not None and Path(checkpoint).is_file():
        curve, best = _resume(Path(checkpoint), network, optimizer, recipe)
    for epoch in range(len(curve), recipe["epochs"]):
        if curve and len(curve) - best_epoch(curve) >= recipe["patience"]:
            log.info("no better for %d epochs: stopped", recipe["patience"])
            break
        start = time.monotonic()
        network.train()
        training_loss = _run_epoch(network, optimizer, events, loss, recipe, epoch)
        network.eval()
        row = {"epoch": epoch + 1, "training_loss": training_loss} | validate()
        if not math.isfinite(row["validation_loss"] + training_loss):
            raise ValueError(
                f"epoch {epoch + 1}: training loss {training_loss}, validation loss "
                f"{row['validation_loss']}; expected finite values: try a smaller "
                "train.learning_rate"
            )
        log.info(
            "epoch %d of %d: %s",
            *(epoch + 1, recipe["epochs"]),
            ", ".join(f"{key} {value:.5g}" for key, value in row.items() if value is not None),
        )
        curve.append(row | {"seconds": round(time.monotonic() - start, 2)})
        if best_epoch(curve) == epoch + 1:
            best = _copy(network)
        if checkpoint is not None:
            _save(Path(checkpoint), network, optimizer, recipe, curve, best)
        if progress is not None:
            progress(epoch + 1, training_loss)
    network.load_state_dict(best)
    network.eval()
    return curve


def best_epoch(curve: Curve) -> int:
    """The number of the first epoch with the smallest validation loss."""
    return min(curve, key=lambda row: row["validation_loss"])["epoch"]


def _run_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    events: list[TrainingEvent],
    loss: LossFunction,
    recipe: dict[str, Any],
    epoch: int,
) -> float:
    """One pass over the events, in an order of its own; gives the mean loss shown."""
    rng = np.random.default_rng([recipe["seed"], epoch])
    n_steps = recipe["epochs"] * len(events)
    total = 0.0
    for position, index in enumerate(rng.permutation(len(events))):
        rate = recipe["learning_rate"] * _schedule(epoch * len(events) + position, n_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        value = loss(augment(events[index], events, rng, recipe["max_overlays"]))
        optimizer.zero_grad()
        value.minimised.backward()
        nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT)
        optimizer.step()
        total += float(value.shown)
    return total / len(events)


def _schedule(step: int, n_steps: int) -> float:
    """Learning rate as a fraction of its maximum: a linear rise, then half a cosine."""
    warm_up = max(1, round(WARM_UP * n_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, n_steps - warm_up)))


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: dict[str, Any],
    curve: Curve,
    best: dict[str, Tensor],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "recipe": recipe,
        "curve": curve,
        "best": best,
    }
    torch.save(state, temporary)
    temporary.replace(path)


def _resume(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: dict[str, Any]
) -> tuple[Curve, dict[str, Tensor]]:
    """Loads a checkpoint; gives the curve so far and the weights of its best epoch."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        changed = sorted(
            key
            for key in state["recipe"].keys() | recipe.keys()
            if state["recipe"].get(key) != recipe.get(key)
        )
        if not changed:
            network.load_state_dict(state["best"])  # to see whether they fit
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            curve, best = list(state["curve"]), state["best"]
    except Exception as error:  # torch.load raises many kinds for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise WeightsError(f"{path}: expected a training checkpoint: {reason}") from error
    if changed:
        key = changed[0]
        raise WeightsError(
            f"{path}: checkpoint of another run: {key} is {state['recipe'].get(key)!r}, "
            f"expected {recipe.get(key)!r}; delete it to start anew"
        )
    log.info("going on after epoch %d of %s", len(curve), path)
    return curve, best
