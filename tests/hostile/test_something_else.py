"""A complete, valid-looking result for something else than what was asked for."""

import contextlib
import json
import os
import shutil

import pandas as pd
import pytest
import torch
from background import SMOKE, TWO
from safetensors.torch import load_file, save_file

from exatrkx_service.compiled import kernel_library
from exatrkx_service.models.export import WEIGHTS, export
from exatrkx_service.pipeline.kernels import load

RESULTS = "results/smoke"


@contextlib.contextmanager
def kept(path):
    """Gives a file its content and its times back."""
    content, stat = path.read_bytes(), path.stat()
    try:
        yield content
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def unnoticed(path, write):
    """Changes a file as a copy that keeps its times does, so that Snakemake does not see it."""
    stat = path.stat()
    write(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_networks_that_do_not_exist(checkout):
    """There are exported ones, and Snakemake takes a missing input for made."""
    for values in (
        'pipeline={"weights":"no/such/folder"}',
        'physics={"methods": {"tiny": {"weights": "no/such/folder"}}}',
    ):
        output = checkout.run(*SMOKE, "--config", values, fails=True)
        assert "weights: no/such/folder/embedding.safetensors: no such file; expected" in output
        assert "Traceback" not in output and "Job " not in output


def test_a_folder_with_one_network(checkout):
    folder = checkout.folder / "results" / "one"
    folder.mkdir(parents=True)
    shutil.copy(WEIGHTS / "embedding.safetensors", folder)
    values = ("--config", "pipeline={weights: results/one}")
    output = checkout.run(*SMOKE, *values, fails=True)
    assert "pipeline.weights: results/one/filtering.safetensors: no such file" in output


@pytest.fixture
def other_weights(tmp_path):
    """The shipped GNN with one number changed."""
    path = tmp_path / "gnn.safetensors"
    tensors = load_file(WEIGHTS / "gnn.safetensors")
    name = next(name for name in sorted(tensors) if name.endswith("weight"))
    tensors[name].view(-1)[0] += 1
    from safetensors import safe_open

    with safe_open(WEIGHTS / "gnn.safetensors", framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata=metadata)
    return path


@pytest.mark.parametrize("option", ["S0", "S1", "S4", "S5"])
def test_another_network_in_the_place_of_the_exported_one(checkout, other_weights, option):
    exported = checkout.folder / RESULTS / "model_repo" / "gnn" / "1" / "model.pt"
    with kept(exported):
        unnoticed(exported, lambda path: export("gnn", other_weights, path))
        output = checkout.run(option, *SMOKE, "--forcerun", "measure", fails=True)
    assert "gnn/1/model.pt: weights_sha256 " in output and "another network was put" in output


def test_an_export_with_another_cut(checkout):
    exported = checkout.folder / RESULTS / "model_repo" / "filtering" / "1" / "model.pt"
    weights = WEIGHTS / "filtering.safetensors"
    with kept(exported):
        unnoticed(exported, lambda path: export("filtering", weights, path, filter_cut=0.5))
        output = checkout.run("S2", *SMOKE, "--forcerun", "measure", fails=True)
    assert "filtering/1/model.pt: filter_cut 0.5, expected 0.008" in output


def test_a_network_without_a_name(checkout):
    """As an earlier version exported it, or somebody else."""
    exported = checkout.folder / RESULTS / "model_repo" / "embedding" / "1" / "model.pt"
    if library := kernel_library("auto"):
        load(library)  # its operators are in the file
    with kept(exported):
        unnoticed(exported, lambda path: torch.jit.save(torch.jit.load(path), path))
        output = checkout.run("S0", *SMOKE, "--forcerun", "measure", fails=True)
    assert "embedding/1/model.pt: stage not recorded, expected embedding" in output


def test_samples_of_another_configuration(copy_of_smoke):
    """Measured with another time limit, and copied over."""
    checkout = copy_of_smoke()
    samples = checkout.folder / RESULTS / "timings" / "S2" / "round1.parquet"
    table = pd.read_parquet(samples)
    table.attrs["settings"]["measure"]["request_timeout_s"] = 1
    with kept(samples):
        unnoticed(samples, lambda path: table.to_parquet(path, index=False))
        output = checkout.run("aggregate", *SMOKE, "--forcerun", "summarise", fails=True)
    expected = "S2/round1.parquet: measure.request_timeout_s: 1, but 60 in the configuration"
    assert expected in output


def test_tracks_of_other_events(copy_of_smoke):
    checkout = copy_of_smoke()
    tracks = checkout.folder / RESULTS / "baseline" / "tracks.parquet"
    table = pd.read_parquet(tracks)
    table.attrs["inputs"]["events_sha256"] = "0" * 64
    with kept(tracks):
        unnoticed(tracks, lambda path: table.to_parquet(path, index=False))
        output = checkout.run("physics", *SMOKE, "--forcerun", "physics_table", fails=True)
    assert "baseline/tracks.parquet: events_sha256: 0000" in output


def test_tracks_of_another_method(copy_of_smoke):
    checkout = copy_of_smoke()
    ours, theirs = (
        checkout.folder / RESULTS / folder / "tracks.parquet"
        for folder in ("methods/walkthrough", "exatrkx")
    )
    with kept(ours):
        unnoticed(ours, lambda path: path.write_bytes(theirs.read_bytes()))
        output = checkout.run("physics", *SMOKE, "--forcerun", "physics_table", fails=True)
    expected = "walkthrough/tracks.parquet: labeling: components, but walkthrough in the"
    assert expected in output


@pytest.fixture(scope="module")
def finished(copy_of_smoke):
    """With all its results: a job that fails in the others takes its own away."""
    return copy_of_smoke()


def longer_blocks(path):
    blocks = pd.read_parquet(path)
    blocks.assign(window_s=2 * blocks.window_s).to_parquet(path, index=False)


def without_slow_samples(path):
    samples = pd.read_parquet(path)  # with its attributes
    attributes, median = samples.attrs, samples.duration_ns.median()
    samples = samples[samples.duration_ns <= median]
    samples.attrs = attributes
    samples.to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("round1.blocks.parquet", longer_blocks, "S5/round1.blocks.parquet: not the file that"),
        ("round1.parquet", without_slow_samples, "S5/round1.parquet: not the file that the job of"),
        (
            "round1.json",
            lambda path: path.write_bytes((path.parents[1] / "S2" / path.name).read_bytes()),
            "S5/round1.parquet: not the file that the job of",
        ),
        ("round1.json", lambda path: path.write_text("{}"), "does not say what its job wrote"),
    ],
    ids=["blocks", "samples", "provenance of another", "empty provenance"],
)
def test_files_of_a_job_that_do_not_belong_together(finished, name, change, message):
    file = finished.folder / RESULTS / "timings" / "S5" / name
    with kept(file):
        unnoticed(file, change)
        output = finished.run("aggregate", *SMOKE, "--forcerun", "summarise", fails=True)
    assert message in output


def test_the_provenance_says_how_the_tables_were_made(copy_of_smoke):
    """The jobs were of another level: they only measured."""
    checkout = copy_of_smoke()
    overlay = checkout.overlay("level.yaml", analysis={"confidence_level": 0.5})
    checkout.run("aggregate", *SMOKE, overlay)
    provenance = json.loads((checkout.folder / RESULTS / "provenance.json").read_text())
    assert provenance["common"]["config"]["analysis"]["confidence_level"] == 0.5
    assert not [key for key in provenance["differs"] if key.startswith("config.")]


def test_an_event_that_was_changed(checkout):
    event = checkout.folder / RESULTS / "events" / "benchmark" / "event000000001-spacepoint.csv"
    with kept(event) as content:
        unnoticed(event, lambda path: path.write_bytes(content.replace(b"1", b"2", 1)))
        output = checkout.run("S0", *SMOKE, "--forcerun", "measure", fails=True)
    assert f"{event.name}: has changed since it was made" in output


def test_two_configurations_do_not_disturb_each_other(copy_of_smoke):
    checkout = copy_of_smoke()
    assert "Nothing to be done" in checkout.run("export", *SMOKE)
    other = ("--config", "results=results/other", "pipeline={filter_cut: 0.5, gnn_cut: 0.1}")
    checkout.run("export", *SMOKE, *other)
    for target in ("export", "S1", "plots", "all"):
        assert "Nothing to be done" in checkout.run(target, *SMOKE), target
    assert "Nothing to be done" in checkout.run("export", *SMOKE, *other)


@pytest.mark.parametrize(
    "values",
    [
        ("events={hnl: {ctau_mm: 100.0, mass_gev: 15.0}}",),
        ("pipeline={filter_cut: 8e-3}",),
        ("measure={min_blocks: 3.0}", "results=results/smoke/"),
        ("options={S3: {serve: [labeling, gnn, filtering, building, embedding]}}",),
    ],
)
def test_equal_configurations_change_nothing(copy_of_smoke, values):
    checkout = copy_of_smoke()
    assert "Nothing to be done" in checkout.run(*SMOKE, "--config", *values)


def test_the_order_of_the_keys_changes_nothing(copy_of_smoke):
    checkout = copy_of_smoke()
    path = checkout.folder / "config" / "config.yaml"
    import yaml

    content = yaml.safe_load(path.read_text())

    def reverse(value):
        if not isinstance(value, dict):
            return value
        return {key: reverse(value[key]) for key in reversed(value)}

    path.write_text(yaml.safe_dump(reverse(content), sort_keys=False))
    assert "Nothing to be done" in checkout.run(*SMOKE)


def test_no_tracks_at_all(checkout):
    """Fast, and identical in all options; but nothing was found."""
    values = ("results=results/none", "pipeline={filter_cut: 1.0}")
    checkout.run("aggregate", *SMOKE, *TWO, *values)
    summary = pd.read_csv(checkout.folder / "results/none/summary.csv")
    assert set(summary.option) == {"S0", "S2"} and set(summary.verdict) == {"invalid"}
    assert set(summary.reason) == {"no tracks were found in any event"}
    assert summary.mean_ms.isna().all() and summary.throughput_evt_s.isna().all()


def test_what_was_measured_stands_in_the_provenance(checkout):
    provenance = json.loads((checkout.folder / RESULTS / "provenance.json").read_text())
    inputs = provenance["common"]["inputs"]
    assert len(inputs["events_sha256"]) == 64
    assert inputs["networks"]["filtering"]["filter_cut"] == "0.008"
    assert {"gnn/1/model.pt", "gnn/config.pbtxt", "building/1/model.py"} <= set(
        inputs["models_sha256"]
    )
    assert len(provenance["common"]["code_sha256"]) == 64
