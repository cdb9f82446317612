"""Two real runs compared, and the intervals tested, at smoke size."""

import json

import pandas as pd
import pytest

from exatrkx_service.analysis.comparison import provenance_differences
from exatrkx_service.analysis.table import read_table
from exatrkx_service.config import load_config

OPTIONS = {"S1": None, "S2": None, "S3": None, "S4": None}
STUDY = {
    name: None
    for name in load_config({"options": {"S0": {"serve": []}}}, "")["study_ensemble"]["options"]
    if name not in ("separate", "ensemble")
} | {"other": {"serve": "ensemble", "server": {"protocol": "http", "backend": "python"}}}


@pytest.fixture(scope="module")
def runs(make_checkout):
    """A checkout with S0 and S5 measured twice: the second time with other blocks."""
    checkout = make_checkout()
    measure = {"concurrency": [1], "min_blocks": 2, "block_s": 0.1, "max_seconds": 0.5}
    checkout.arguments = ("--configfile", "config/smoke.yaml")
    for name, block_s in (("before", 0.1), ("after", 0.2)):
        overlay = checkout.overlay(
            f"{name}.yaml",
            results=f"results/{name}",
            options=OPTIONS,
            measure=measure | {"block_s": block_s, "warmup_events": 2},
            coverage={"repeats": 3, "concurrency": [1, 2]},
            study_batch={"options": ["S0", "S5"], "batch": [2], "concurrency": [2]},
            study_ensemble={"concurrency": [1], "rounds": 1, "options": STUDY},
        )
        checkout.run("aggregate", *checkout.arguments, overlay)
    return checkout


def test_two_runs_are_compared(runs):
    output = runs.run(
        "compare", *runs.arguments, "after.yaml", "--config", "baseline=results/before"
    )
    folder = runs.folder / "results" / "after" / "compare"
    table = read_table(folder / "changes.csv")
    assert table.option.tolist() == ["S0", "S5"] and table.concurrency.tolist() == [1, 1]
    for name in ("before", "after"):
        summary = read_table(runs.folder / "results" / name / "summary.csv")
        prefix = {"before": "baseline_", "after": ""}[name]
        for column in ("mean_ms", "cost_ms", "verdict"):
            assert table[f"{prefix}{column}"].equals(summary[column])
    differences = pd.read_csv(folder / "provenance.csv", dtype=str).set_index("key")
    assert differences.loc["config.measure.block_s"].tolist() == ["0.1", "0.2"]
    lines = output.splitlines()
    first = lines.index(f"differences in provenance: {len(differences)}")
    assert "  config.measure.block_s: 0.1 → 0.2" in lines[first:]
    assert any("cells whose cost and slowdown changed: " in line for line in lines[first:])
    assert (folder / "changes.png").stat().st_size and (folder / "changes.pdf").stat().st_size


def test_nothing_but_the_block_differs(runs):
    """What differs from run to run of the same code by nature is no difference."""
    records = [
        json.loads((runs.folder / "results" / name / "provenance.json").read_text())
        for name in ("before", "after")
    ]
    assert provenance_differences(*records).key.tolist() == ["config.measure.block_s"]


def test_without_a_baseline_the_key_is_named(runs):
    output = runs.run("--dry-run", "compare", *runs.arguments, "after.yaml", fails=True)
    assert "baseline: missing key; expected the folder of another run's results" in output
    output = runs.run("compare", *runs.arguments, "--config", "baseline=results/no", fails=True)
    assert "baseline: results/no/summary.csv: no such file; expected another folder" in output
    assert "Traceback" not in output


def test_a_baseline_of_something_else_is_one_clear_error(runs):
    other = runs.folder / "results" / "other"
    other.mkdir()
    (other / "summary.csv").write_text("option,concurrency,mean_ms\nS0,1,20.0\n")
    (other / "provenance.json").write_text("{}")
    arguments = (*runs.arguments, "after.yaml", "--config", "baseline=results/other")
    output = runs.run("compare", *arguments, fails=True)
    assert "error: results/other/summary.csv: column 'control_ms' is missing" in output


def test_the_intervals_are_tested(runs):
    output = runs.run("coverage", *runs.arguments, "after.yaml")
    folder = runs.folder / "results" / "after"
    table = pd.read_csv(folder / "coverage.csv")
    assert table.repeat.tolist() == [1, 1, 2, 2, 3, 3]
    assert table.concurrency.tolist() == [1, 2] * 3
    assert (table.n_blocks >= 2).all() and (table.control_ms > 0).all()
    samples = pd.read_parquet(folder / "coverage" / "samples.parquet")
    assert set(samples.arm) == {"option", "control"} and (samples.status == "ok").all()
    job = json.loads((folder / "coverage" / "provenance.json").read_text())["job"]
    assert [cell["repeat"] for cell in job["cells"]] == table.repeat.tolist()
    for concurrency, own in table.groupby("concurrency"):
        held = f": the interval held zero in {own.holds_zero.sum()} of 3 repeats"
        assert f"{concurrency} client{'s' * (concurrency > 1)}{held}" in output
    assert (folder / "figures" / "coverage.png").stat().st_size


def test_options_that_differ_in_their_server_are_compared(runs):
    runs.run("study_ensemble", *runs.arguments, "after.yaml")
    folder = runs.folder / "results" / "after"
    summary = read_table(folder / "study_ensemble" / "summary.csv")
    assert summary.option.tolist() == ["ensemble", "other", "separate"]
    assert summary.tracks_identical.all()
    parts = read_table(folder / "study_ensemble" / "breakdown.csv").groupby("option").part.agg(set)
    # Only Python models are handed tensors.
    assert "hand_over" in parts["other"]
    job = json.loads((folder / "timings" / "other" / "round1.json").read_text())["job"]
    assert job["networks"] == "Python-based backend (server.backend: python)"
    assert (folder / "figures" / "study_ensemble.png").stat().st_size


def test_requests_with_several_events_are_measured(runs):
    runs.run("study_batch", *runs.arguments, "after.yaml")
    folder = runs.folder / "results" / "after"
    table = read_table(folder / "study_batch" / "batches.csv")
    assert table[["option", "batch", "concurrency"]].to_numpy().tolist() == [
        ["S0", 2, 2],
        ["S5", 2, 2],
    ]
    assert table.mean_ms.notna().all()
    samples = pd.read_parquet(folder / "timings" / "S5_batch2" / "round1.parquet")
    totals = samples[samples.part == "total"]
    # Both arms have the same batches, and find the tracks of each event in them.
    assert (totals.event < 0).all() and (totals.status == "ok").all()
    assert totals.groupby("event").labels_sha256.nunique().eq(1).all()
    option = samples[samples.arm == "option"]
    assert "serialise" in set(option.part)
    assert (folder / "figures" / "study_batch.png").stat().st_size
