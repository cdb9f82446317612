import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_tracks import N_EVENTS, PIPELINE, TRAIN, toy_event, write_event

from exatrkx_service.models.training import train_embedding, train_filtering, train_gnn
from exatrkx_service.models.weights import WeightsError, read_metadata


class Interrupted(Exception):
    pass


def interrupt(epoch: int, loss: float) -> None:
    raise Interrupted


def events_in(folder):
    return dict.fromkeys(range(N_EVENTS), folder)


def train_all(folder, name, seed=TRAIN["seed"]):
    torch.manual_seed(np.random.default_rng().integers(1000))  # must not matter
    train = TRAIN | {"seed": seed}
    files = {s: folder / f"{name}-{s}.safetensors" for s in ("embedding", "filtering", "gnn")}
    e, f, g = files.values()
    events = events_in(folder)
    train_embedding(events, e, train, PIPELINE)
    train_filtering(events, e, f, train, PIPELINE)
    train_gnn(events, e, f, g, train, PIPELINE)
    return files


def same(first, second):
    a, b = load_file(first), load_file(second)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_seed_gives_one_set_of_weights(sample):
    first, second = train_all(sample, "first"), train_all(sample, "second")
    other = train_all(sample, "other", seed=6)
    for stage in first:
        assert same(first[stage], second[stage])
        assert not same(first[stage], other[stage])


@pytest.mark.parametrize("stage", ["embedding", "filtering", "gnn"])
def test_an_interrupted_run_goes_on_to_the_same_weights(sample, stage):
    whole = train_all(sample, "whole")
    inputs = {"embedding": [], "filtering": [whole["embedding"]]}
    inputs["gnn"] = [whole["embedding"], whole["filtering"]]
    train = {"embedding": train_embedding, "filtering": train_filtering, "gnn": train_gnn}[stage]
    destination, checkpoint = sample / "resumed.safetensors", sample / "run.ckpt"
    with pytest.raises(Interrupted):
        train(
            events_in(sample),
            *inputs[stage],
            destination,
            TRAIN,
            PIPELINE,
            checkpoint=checkpoint,
            progress=interrupt,
        )
    assert not destination.exists()
    epochs = []
    train(
        events_in(sample),
        *inputs[stage],
        destination,
        TRAIN,
        PIPELINE,
        checkpoint=checkpoint,
        progress=lambda epoch, loss: epochs.append(epoch),
    )
    assert epochs == [2]
    assert not checkpoint.exists()
    assert same(destination, whole[stage])


def test_training_finds_the_tracks(sample):
    train = TRAIN | {"epochs": {"embedding": 60, "filtering": 60, "gnn": 60}}
    files = [sample / f"{s}.safetensors" for s in ("embedding", "filtering", "gnn")]
    events = events_in(sample)
    metrics = [
        train_embedding(events, files[0], train, PIPELINE),
        train_filtering(events, files[0], files[1], train, PIPELINE),
        train_gnn(events, *files, train, PIPELINE),
    ]
    embedding, filtering, gnn = metrics
    assert embedding["edge_efficiency"] > 0.9
    assert filtering["edge_purity"] > embedding["edge_purity"]
    assert gnn["edge_efficiency"] > 0.8
    assert read_metadata(files[2], "gnn")["metrics"] == gnn


def test_a_checkpoint_of_another_run_is_refused(sample):
    checkpoint = sample / "run.ckpt"
    events = events_in(sample)
    with pytest.raises(Interrupted):
        train_embedding(
            events, sample / "e", TRAIN, PIPELINE, checkpoint=checkpoint, progress=interrupt
        )
    other = TRAIN | {"learning_rate": 0.1}
    with pytest.raises(WeightsError, match=r"run\.ckpt: .*learning_rate is 0.002, expected 0.1"):
        train_embedding(events, sample / "e", other, PIPELINE, checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(WeightsError, match=r"run\.ckpt: expected a training checkpoint"):
        train_embedding(events, sample / "e", TRAIN, PIPELINE, checkpoint=checkpoint)


def test_a_checkpoint_of_other_events_is_refused(sample):
    checkpoint, events = sample / "run.ckpt", events_in(sample)
    with pytest.raises(Interrupted):
        train_embedding(
            events, sample / "e", TRAIN, PIPELINE, checkpoint=checkpoint, progress=interrupt
        )
    write_event(sample, 0, toy_event(100))
    with pytest.raises(WeightsError, match=r"run\.ckpt: .*events_sha256 is .*; delete it to start"):
        train_embedding(events, sample / "e", TRAIN, PIPELINE, checkpoint=checkpoint)
    checkpoint.unlink()
    train_embedding(events, sample / "e", TRAIN, PIPELINE, checkpoint=checkpoint)
    assert "events_sha256" not in read_metadata(sample / "e", "embedding")["recipe"]


@pytest.mark.parametrize("changed", ["embedding", "filtering"])
def test_a_checkpoint_of_other_earlier_networks_is_refused(sample, changed):
    files, others = train_all(sample, "first"), train_all(sample, "other", seed=6)
    checkpoint, events = sample / "run.ckpt", events_in(sample)

    def train(**arguments):
        earlier = files["embedding"], files["filtering"]
        train_gnn(
            events, *earlier, sample / "g", TRAIN, PIPELINE, checkpoint=checkpoint, **arguments
        )

    with pytest.raises(Interrupted):
        train(progress=interrupt)
    others[changed].replace(files[changed])
    with pytest.raises(
        WeightsError, match=r"run\.ckpt: .*earlier_networks_sha256 is .*; delete it"
    ):
        train()


def test_a_split_without_validation_events_is_refused(sample):
    with pytest.raises(ValueError, match=r"train\.validation_fraction"):
        train_embedding(
            events_in(sample), sample / "e", TRAIN | {"validation_fraction": 0.01}, PIPELINE
        )
