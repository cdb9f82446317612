"""A real training of very small networks, from events to the model card."""

import json

import pandas as pd
import pytest
import yaml

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


def test_too_few_events_to_validate_are_one_clear_error(trained):
    values = ("--config", "train={validation_fraction: 0.01}")
    output = trained.run("train", "--configfile", "small.yaml", *values, fails=True)
    assert "error: train.n_events: too few: 10 events with train.validation_fraction 0.01" in output
