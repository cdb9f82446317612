import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_tracks import N_EVENTS, settings, toy_event, write_event

from exatrkx_service.models import training
from exatrkx_service.models.losses import Loss
from exatrkx_service.models.networks import NETWORKS
from exatrkx_service.models.training import CURVE_COLUMNS, curve_path
from exatrkx_service.models.weights import WeightsError, read_metadata


class Interrupted(Exception):
    pass


def interrupt(epoch: int, loss: float) -> None:
    raise Interrupted


def train(folder, stage, files, destination=None, *, changes=None, **arguments):
    """Trains one stage on the sample in the folder; ``files`` are the weights by stage."""
    earlier = [files[s] for s in NETWORKS][: list(NETWORKS).index(stage)]
    return getattr(training, f"train_{stage}")(
        dict.fromkeys(range(N_EVENTS), folder),
        *earlier,
        destination or files[stage],
        settings(stage, **(changes or {})),
        **arguments,
    )


def train_all(folder, name, **changes):
    torch.manual_seed(np.random.default_rng().integers(1000))  # must not matter
    files = {stage: folder / f"{name}-{stage}.safetensors" for stage in NETWORKS}
    for stage in NETWORKS:
        train(folder, stage, files, changes=changes)
    return files


def read_curve(weights):
    with curve_path(weights).open() as file:
        return list(csv.DictReader(file))


def same(first, second):
    a, b = load_file(first), load_file(second)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_seed_gives_one_set_of_weights(sample):
    first, second = train_all(sample, "first"), train_all(sample, "second")
    other = train_all(sample, "other", seed=6)
    for stage in first:
        assert same(first[stage], second[stage])
        assert not same(first[stage], other[stage])


@pytest.mark.parametrize("stage", NETWORKS)
def test_an_interrupted_run_goes_on_to_the_same_weights(sample, stage):
    whole = train_all(sample, "whole")
    destination, checkpoint = sample / "resumed.safetensors", sample / "run.ckpt"
    with pytest.raises(Interrupted):
        train(sample, stage, whole, destination, checkpoint=checkpoint, progress=interrupt)
    assert not destination.exists()
    epochs = []
    train(
        *(sample, stage, whole, destination),
        checkpoint=checkpoint,
        progress=lambda epoch, loss: epochs.append(epoch),
    )
    assert epochs == [2]
    assert not checkpoint.exists()
    assert same(destination, whole[stage])
    rows = [read_curve(weights) for weights in (destination, whole[stage])]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]


def test_training_finds_the_tracks(sample):
    files = train_all(sample, "long", epochs=60)
    metrics = {stage: read_metadata(files[stage], stage)["metrics"] for stage in files}
    assert metrics["embedding"]["edge_efficiency"] > 0.9
    assert metrics["filtering"]["edge_purity"] > metrics["embedding"]["edge_purity"]
    assert metrics["gnn"]["edge_efficiency"] > 0.8
    for stage, path in files.items():
        curve = read_curve(path)
        assert tuple(curve[0]) == CURVE_COLUMNS
        best = min(curve, key=lambda row: float(row["validation_loss"]))
        assert int(best["epoch"]) == metrics[stage]["best_epoch"] > 1
        assert float(best["edge_efficiency"]) == metrics[stage]["edge_efficiency"]


def test_training_stops_when_it_gets_no_better_and_keeps_the_best(sample):
    # At this learning rate the loss gets worse at some point.
    wild = {"epochs": 40, "learning_rate": 0.5, "patience": 2}
    files = {"embedding": sample / "wild.safetensors"}
    metrics = train(sample, "embedding", files | dict.fromkeys(("filtering", "gnn")), changes=wild)
    curve = read_curve(files["embedding"])
    losses = [float(row["validation_loss"]) for row in curve]
    best = int(np.argmin(losses)) + 1
    assert len(curve) == best + 2 == metrics["epochs"] < 40
    assert metrics["best_epoch"] == best
    # A run that ends at the best epoch, on the same schedule, has the weights that were kept.
    checkpoint = sample / "run.ckpt"

    def stop(epoch, loss):
        if epoch == best:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(
            *(sample, "embedding", files | dict.fromkeys(("filtering", "gnn"))),
            changes=wild,
            checkpoint=checkpoint,
            progress=stop,
        )
    state = torch.load(checkpoint, weights_only=True)["network"]
    kept = load_file(files["embedding"])
    assert all(torch.equal(kept[name], value) for name, value in state.items())


@pytest.fixture
def interrupted(sample):
    """Weights by stage, none of them there, and the checkpoint of an embedding."""
    files = {stage: sample / f"{stage}.safetensors" for stage in NETWORKS}
    checkpoint = sample / "run.ckpt"
    with pytest.raises(Interrupted):
        train(sample, "embedding", files, checkpoint=checkpoint, progress=interrupt)
    return files, checkpoint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.1}, r"learning_rate is 0\.002, expected 0\.1"),
        (
            {"network": {"hidden": 32, "n_layers": 2, "dimension": 4}},
            r"architecture is \{'hidden': 16, .*\}, expected \{'hidden': 32, .*; delete it",
        ),
    ],
)
def test_a_checkpoint_of_another_run_or_size_is_refused(sample, interrupted, changes, message):
    files, checkpoint = interrupted
    with pytest.raises(WeightsError, match=rf"run\.ckpt: checkpoint of another run: {message}"):
        train(sample, "embedding", files, changes=changes, checkpoint=checkpoint)


def test_a_damaged_checkpoint_is_refused(sample, interrupted):
    files, checkpoint = interrupted
    state = torch.load(checkpoint, weights_only=True)
    state["network"]["head.bias"] = torch.zeros(3)
    torch.save(state, checkpoint)
    with pytest.raises(WeightsError, match=r"run\.ckpt: expected a training checkpoint: Error"):
        train(sample, "embedding", files, checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(WeightsError, match=r"run\.ckpt: expected a training checkpoint"):
        train(sample, "embedding", files, checkpoint=checkpoint)


def test_a_checkpoint_of_other_events_is_refused(sample, interrupted):
    files, checkpoint = interrupted
    write_event(sample, 0, toy_event(100))
    with pytest.raises(WeightsError, match=r"run\.ckpt: .*events_sha256 is .*; delete it to start"):
        train(sample, "embedding", files, checkpoint=checkpoint)
    checkpoint.unlink()
    train(sample, "embedding", files, checkpoint=checkpoint)
    assert "events_sha256" not in read_metadata(files["embedding"], "embedding")["recipe"]


@pytest.mark.parametrize("changed", ["embedding", "filtering"])
def test_a_checkpoint_of_other_earlier_networks_is_refused(sample, changed):
    files, others = train_all(sample, "first"), train_all(sample, "other", seed=6)
    checkpoint, destination = sample / "run.ckpt", sample / "g"
    with pytest.raises(Interrupted):
        train(sample, "gnn", files, destination, checkpoint=checkpoint, progress=interrupt)
    others[changed].replace(files[changed])
    with pytest.raises(
        WeightsError, match=r"run\.ckpt: .*earlier_networks_sha256 is .*; delete it"
    ):
        train(sample, "gnn", files, destination, checkpoint=checkpoint)


def test_a_split_without_validation_events_is_refused(sample):
    files = {stage: sample / stage for stage in NETWORKS}
    with pytest.raises(ValueError, match=r"train\.validation_fraction"):
        train(sample, "embedding", files, changes={"validation_fraction": 0.01})


def test_a_loss_that_is_not_finite_ends_the_training(sample, monkeypatch):
    files = {stage: sample / stage for stage in NETWORKS}

    def nan(network, *rest):
        value = network.head.bias.sum() * float("nan")
        return Loss(value, value.detach())

    monkeypatch.setattr(training, "embedding_loss", nan)
    with pytest.raises(ValueError, match=r"epoch 1: training loss nan.*train\.learning_rate"):
        train(sample, "embedding", files)
    assert not files["embedding"].exists()
