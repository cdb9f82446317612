"""A real training of very small networks, from events to the model card."""

import json
import re

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from exatrkx_service.events.files import event_file
from exatrkx_service.events.manifest import read_manifests
from exatrkx_service.models.weights import read_metadata

NETWORKS = ("embedding", "filtering", "gnn")
FIGURES = ("learning_curves", "efficiency_vs_cut")


@pytest.fixture(scope="module")
def trained(make_checkout):
    checkout = make_checkout()
    checkout.overlay(
        "small.yaml",
        events={"n_events": 2, "chunk_size": 10},
        train={
            "n_events": 10,
            "validation_fraction": 0.3,
            "epochs": dict.fromkeys(NETWORKS, 2),
            "networks": {
                "embedding": {"hidden": 16, "n_layers": 1, "dimension": 4},
                "filtering": {"hidden": 8, "node_hidden": 8},
                "gnn": {"hidden": 8, "n_layers": 1},
            },
        },
    )
    checkout.run("train", "--configfile", "small.yaml")
    return checkout


def test_everything_is_written_beside_the_weights(trained):
    models = trained.folder / "results" / "models"
    for stage in NETWORKS:
        assert pd.read_csv(models / f"{stage}.curve.csv").epoch.tolist() == [1, 2]
        assert not (models / f"{stage}.checkpoint").exists()
    for figure in FIGURES:
        assert (models / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (models / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
    card = json.loads((models / "model_card.json").read_text())
    assert card["networks"]["gnn"]["architecture"] == {"hidden": 8, "n_layers": 1}
    scan = pd.read_csv(models / "cuts.csv")
    chosen = scan[scan.chosen].set_index("cut").value
    overlay = yaml.safe_load((models / "working_point.yaml").read_text())["pipeline"]
    assert overlay == {"weights": "results/models"} | chosen.to_dict()


def test_the_working_point_trains_nothing_anew(trained):
    overlays = ("--configfile", "small.yaml", "results/models/working_point.yaml")
    plan = trained.run("--dry-run", *overlays)
    assert "Exporting the gnn network" in plan and "Training" not in plan
    assert "Nothing to be done" in trained.run("train", "--configfile", "small.yaml")


@pytest.fixture(scope="module")
def larger(trained):
    """The same events in one folder, those to train on last, as of a detector twice as large."""
    folder, number = trained.folder / "larger", 0
    folder.mkdir()
    for sample, n_events in (("benchmark", 2), ("train", 10)):
        for event in range(n_events):
            for kind in ("spacepoint", "hits", "measurement-simhit-map", "particles_simulated"):
                source = event_file(trained.folder / "results/events" / sample, event, kind)
                table = pd.read_csv(source, dtype=str)
                if kind in ("spacepoint", "particles_simulated"):
                    lengths = list("xyz") if kind == "spacepoint" else ["vx", "vy", "vz"]
                    table[lengths] = 2 * table[lengths].astype(float)
                table.to_csv(event_file(folder, number, kind), index=False)
            number += 1
    return trained.overlay(
        "larger.yaml",
        results="results/larger",
        events={"source": "acts", "path": "larger", "n_events": 2},
        train={"source": "acts", "path": "larger", "skip": 2},
        pipeline={"weights": "results/larger/models"},
    )


def test_networks_are_trained_on_events_from_elsewhere(trained, larger):
    overlays = ("--configfile", "small.yaml", larger)
    folders = [trained.folder / name for name in ("results", "results/larger")]
    files = [folder / "models" / "embedding.safetensors" for folder in folders]
    trained.run("results/larger/models/embedding.safetensors", *overlays)
    metadata = read_metadata(files[1], "embedding")
    assert metadata["sample"] == "acts" and metadata["recipe"]["n_training_events"] == 7
    # The features are scaled as this detector's are.
    radii = [float(load_file(file)["scale_nodes.mean"][0]) for file in files]
    assert radii[1] == pytest.approx(2 * radii[0])
    for folder, events in (("imported", 2), ("imported_train", 10)):
        assert len(read_manifests([folders[1] / "events" / folder / "events.json"])) == events
    # Other events that are measured train nothing anew.
    plan = trained.run("--dry-run", "train", *overlays, "--config", "events={n_events: 1}")
    assert "Reading the events in larger" in plan and "Measuring the trained networks" in plan
    assert re.findall(r"Training the (\w+) network", plan) == ["filtering", "gnn"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("train={skip: 1}", "train.path: larger is events.path as well, and 1 of its events (fr"),
        ("train={skip: 3}", "9 events in train.path: train.n_events: found 9, expected at least"),
        ("train={path: nowhere}", "nowhere: no such folder; expected one with"),
    ],
)
def test_events_that_cannot_be_trained_on_are_refused(trained, larger, values, message):
    arguments = ("--configfile", "small.yaml", larger, "--config", values)
    output = trained.run("--dry-run", "train", *arguments, fails=True)
    assert message in output and "Traceback" not in output
    # Who only measures does not need them.
    others = ("pipeline={weights: src/exatrkx_service/models/weights}",)
    assert "This was a dry-run" in trained.run("--dry-run", "events", *arguments, *others)


def test_too_few_events_to_validate_are_one_clear_error(trained):
    values = ("--config", "train={validation_fraction: 0.01}")
    output = trained.run("train", "--configfile", "small.yaml", *values, fails=True)
    assert "error: train.n_events: too few: 10 events with train.validation_fraction 0.01" in output
