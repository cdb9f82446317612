"""Targets, and configurations that are refused before any job runs."""

import os
import re
import shlex

import pytest

NETWORKS = ["embedding", "filtering", "gnn"]
TARGETS = [
    *("all", "events", "train", "export", "reference", "agreement", "ckf", "physics"),
    *("aggregate", "plots", "report", "capacity", "coverage", "study_ensemble", "study_batch"),
]


@pytest.fixture(scope="module")
def checkout(make_checkout):
    return make_checkout()


@pytest.mark.parametrize("target", [*TARGETS, *(f"S{i}" for i in range(6))])
def test_every_target_can_be_planned(checkout, target):
    assert "This was a dry-run" in checkout.run("--dry-run", target)


def test_an_option_needs_the_measurements_of_itself_alone(checkout, config):
    plan = checkout.run("--dry-run", "S3")
    assert plan.count("Measuring S3, round") == config["measure"]["rounds"]
    assert "Measuring S1" not in plan


def test_the_study_measures_its_own_options_alone_in_turns(checkout, config):
    plan = checkout.run("--dry-run", "study_ensemble")
    study = config["study_ensemble"]
    for option in study["options"]:
        for number in range(1, study["rounds"] + 1):
            assert plan.count(f"Measuring {option}, round {number}\n") == 1
    assert "Measuring S" not in plan


def test_requests_with_several_events_are_measured_alone(checkout, config):
    plan = checkout.run("--dry-run", "study_batch")
    for option in config["study_batch"]["options"]:
        for size in config["study_batch"]["batch"]:
            assert plan.count(f"Measuring {option}_batch{size}, round 1\n") == 1
    assert plan.count("Measuring ") == 16


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (
            {"options": ["S0", "S9"]},
            "options: S9: no such option; expected one of S0, S1, S2, S3, ",
        ),
        (
            {"concurrency": [500]},
            "concurrency: 500 clients, but there are 130 samples (events.n_ev",
        ),
    ],
)
def test_what_requests_with_several_events_need_is_checked(checkout, study, said):
    overlay = checkout.overlay("batch.yaml", study_batch=study)
    output = checkout.run("--dry-run", "study_batch", "--configfile", overlay, fails=True)
    assert f"error: study_batch.{said}" in output
    assert "Traceback" not in output
    # ... and of them alone.
    checkout.run("--dry-run", "S0", "--configfile", overlay)


def test_each_method_of_the_configuration_is_found_and_compared(checkout):
    weights = "results/tiny/models"
    for stage in NETWORKS:
        checkout.touch(f"{weights}/{stage}.safetensors")
    overlay = checkout.overlay("tiny.yaml", physics={"methods": {"tiny": {"weights": weights}}})
    plan = checkout.run("--dry-run", "physics", "--configfile", overlay)
    (compared,) = re.findall(r"Comparing the tracks of (.*) with the truth", plan)
    assert sorted(compared.split(", ")) == ["CKF", "exatrkx", "tiny", "walkthrough"]
    job = plan.split("Finding the tracks with tiny")[1].split("Job ")[0]
    assert "results/methods/tiny/edges.parquet" in job
    # The networks that are served are not touched by it.
    assert plan.count("Exporting the ") == len(NETWORKS)


def test_networks_of_a_method_that_are_not_there_are_named(checkout):
    overlay = checkout.overlay("none.yaml", physics={"methods": {"new": {"weights": "nowhere"}}})
    output = checkout.run("--dry-run", "physics", "--configfile", overlay, fails=True)
    expected = "physics.methods.new.weights: nowhere/embedding.safetensors: no such file; expected"
    assert expected in output and "Traceback" not in output


def test_the_report_shows_the_training_of_the_networks_that_are_used(checkout):
    drawn = "Drawing the training of the networks in results/figures"
    assert drawn in checkout.run("--dry-run", "report")
    own = checkout.overlay("own.yaml", pipeline={"weights": "results/models"})
    plan = checkout.run("--dry-run", "report", "--configfile", own)
    assert drawn in plan and "Training the gnn network" in plan
    for stage in NETWORKS:
        checkout.touch(f"results/elsewhere/{stage}.safetensors")
    bare = checkout.overlay("bare.yaml", pipeline={"weights": "results/elsewhere"})
    assert drawn not in checkout.run("--dry-run", "report", "--configfile", bare)


def test_the_events_of_the_evaluation_are_made_in_parallel(checkout):
    plan = checkout.run("--dry-run", "physics", "--configfile", "config/physics.yaml")
    assert "Generating events 950 to 999 of the benchmark sample" in plan
    assert "Measuring" not in plan


@pytest.mark.parametrize(
    ("arguments", "planned"),
    [
        ("--config results=results/mine", "Writing results/mine/report.html"),
        ("""--config 'measure={"rounds": 2}'""", "Measuring S5, round 2"),
    ],
)
def test_single_keys_can_be_given_as_the_readme_says(checkout, root, arguments, planned):
    assert arguments in (root / "config" / "README.md").read_text()
    assert planned in checkout.run("--dry-run", *shlex.split(arguments))


def test_numbers_can_be_given_in_lists_and_in_sections_of_sections(checkout):
    values = ("measure={concurrency: [1, 2], rounds: 4}", "train={epochs: {gnn: 2}}")
    assert "Measuring S0, round 4" in checkout.run("--dry-run", "--config", *values)
    output = checkout.run("--dry-run", "--config", "measure={concurrency: [one]}", fails=True)
    assert "measure.concurrency[0]: found 'one', expected integer" in output


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"measure": {"concurency": [1]}}, "measure.concurency: unknown key; did you mean conc"),
        ({"measure": {"concurrency": [0]}}, "measure.concurrency[0]: found 0, expected at least 1"),
        ({"measure": {"rounds": "two"}}, "measure.rounds: found 'two', expected integer"),
        ({"options": {"S6": {"serve": ["gnnn"]}}}, "options.S6.serve[0]: found 'gnnn', expected"),
        ({"options": {"plots": {"serve": []}}}, "options.plots: is a target of the workflow"),
        (
            {"options": {"plot_figures": {"serve": []}}},
            "options.plot_figures: is a target of the workflow",
        ),
        (
            {"physics": {"methods": {"ckf": {"radius": 2}}}},
            "physics.methods.ckf: exatrkx, CKF, baseline are names of the workflow's own",
        ),
        ({"train": {"seed": 20231}}, "train.seed: 20231 is events.seed too"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(checkout, values, message):
    output = checkout.run("--configfile", checkout.overlay("wrong.yaml", **values), fails=True)
    assert message in output
    assert "Traceback" not in output and "rule " not in output


@pytest.fixture(scope="module")
def trained(make_checkout):
    """A checkout in which Snakemake takes the networks for trained and exported."""
    checkout = make_checkout()
    for sample, n_events in (("benchmark", 100), ("train", 1000)):
        for first in range(0, n_events, 25):
            checkout.touch(f"results/events/{sample}/events_{first}-{first + 24}.json")
    for stage in NETWORKS:
        checkout.touch(f"results/models/{stage}.safetensors")
        checkout.touch(f"results/models/{stage}.curve.csv")
        checkout.touch(f"results/model_repo/{stage}/1/model.pt")
    for path in (checkout.folder / "model_repo").glob("*/**/*.*"):
        checkout.touch(f"results/{path.relative_to(checkout.folder)}")
    checkout.touch("results/model_repo/backend.json")
    for name in ("MODEL_CARD.md", "model_card.json", "working_point.yaml", "cuts.csv"):
        checkout.touch(f"results/models/{name}")
    for figure in ("learning_curves", "efficiency_vs_cut"):
        for suffix in ("png", "pdf"):
            checkout.touch(f"results/models/{figure}.{suffix}")
    checkout.run("--touch", "--forceall", "train", "export")
    return checkout


@pytest.mark.parametrize(
    ("value", "training", "exporting"),
    [
        ("pipeline={device: cpu}", [], []),
        ("pipeline={gnn_cut: 0.5, radius: 1.5}", [], []),
        ("pipeline={labeling: walkthrough, walk_cut: 0.5}", [], []),
        ("pipeline={filter_cut: 0.5}", [], ["filtering"]),
        ("train={cuts: {gnn_cut: 0.5}}", ["gnn"], []),
        ("train={epochs: {gnn: 2}}", ["gnn"], []),
        ("train={networks: {filtering: {hidden: 8}}}", ["filtering", "gnn"], []),
        ("train={patience: 2}", NETWORKS, []),
    ],
)
def test_a_setting_makes_anew_the_networks_that_depend_on_it(trained, value, training, exporting):
    plan = trained.run("--dry-run", "train", "export", "--config", value)
    assert re.findall(r"Training the (\w+) network", plan) == training
    assert re.findall(r"Exporting the (\w+) network", plan) == exporting


def test_a_network_that_an_older_file_replaces_is_exported_anew(trained):
    """As `cp -p` puts it there; Snakemake compares the times of files alone."""
    theirs = trained.overlay("theirs.yaml", pipeline={"models": {"gnn": {"file": "theirs.pt"}}})
    trained.touch("theirs.pt")
    for file, others in (
        ("theirs.pt", ("--configfile", theirs)),
        ("src/exatrkx_service/models/weights/filtering.safetensors", ()),
    ):
        trained.run("--touch", "--forceall", "export", *others)
        path = trained.folder / file
        before = path.read_bytes()
        path.write_bytes(b"another")
        os.utime(path, (1, 1))
        plan = trained.run("--dry-run", "export", *others)
        assert re.findall(r"Exporting the (\w+) network", plan) == [
            "gnn" if others else "filtering"
        ]
        path.write_bytes(before)


def test_a_corrupt_weights_file_is_named(make_checkout):
    checkout = make_checkout()
    weights = checkout.folder / "src/exatrkx_service/models/weights/gnn.safetensors"
    weights.write_bytes(b"corrupt")
    output = checkout.run("export", fails=True)
    assert "error: " in output and "gnn.safetensors" in output
    assert not (checkout.folder / "results/model_repo/gnn/1/model.pt").exists()


def test_networks_whose_card_speaks_of_other_cuts_warn(make_checkout, config):
    checkout = make_checkout()
    other = checkout.run("export", "--config", "pipeline={radius: 9.5}")
    radius = config["pipeline"]["radius"]
    assert "warning: " in other and f"radius {radius} (pipeline.radius: 9.5)" in other
    assert "measured at other cuts" not in checkout.run("export", "--forceall")
