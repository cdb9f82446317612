"""A real run of the workflow at smoke size: real events, networks, server and measurements."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from exatrkx_service.analysis.cells import comparable
from exatrkx_service.analysis.physics import tracking_performance
from exatrkx_service.analysis.table import read_summary
from exatrkx_service.analysis.timings import read_blocks, read_timings, total_rows
from exatrkx_service.measure.cell import LEAST_BLOCKS
from exatrkx_service.options import STAGES
from exatrkx_service.serving.native import read_choice

SMOKE = ("--configfile", "config/smoke.yaml")
OPTIONS = ["S0", "S1", "S2", "S3", "S4", "S5"]


@pytest.fixture(scope="module")
def results(smoke):
    return smoke.folder / "results" / "smoke"


@pytest.fixture(scope="module")
def samples(results):
    return pd.concat([pd.read_parquet(path) for path in results.glob("timings/*/round1.parquet")])


def test_every_option_is_measured_and_gives_the_same_tracks(results):
    summary = pd.read_csv(results / "summary.csv")
    assert summary.option.unique().tolist() == OPTIONS
    assert summary.concurrency.tolist() == [1, 2] * len(OPTIONS)
    assert (summary.n_events == 5).all() and (summary.n_failed == 0).all()
    assert summary.tracks_identical.all()
    assert (summary.ci95_low_ms <= summary.mean_ms).all()
    assert (summary.mean_ms <= summary.ci95_high_ms).all()
    assert (summary.cost_low_ms <= summary.cost_ms).all()
    # No cell ends with fewer; how many there is time for is the machine's.
    assert (summary.n_blocks >= LEAST_BLOCKS).all()
    assert (summary.client_cpu_ms > 0).all() and (summary.client_pss_mib > 0).all()
    served = summary.option != "S0"
    assert (summary[served].server_cpu_ms > 0).all() and (summary[served].server_pss_mib > 0).all()


def test_both_arms_measure_every_event_equally_often(samples):
    totals = samples[samples.part == "total"]
    counts = totals.groupby(["option", "concurrency", "event", "arm"]).size().unstack()
    assert len(counts) == len(OPTIONS) * 2 * 5
    assert (counts.option == counts.control).all() and counts.option.min() >= 1


def test_the_parts_add_up_and_none_is_negative(samples):
    sample = ["option", "concurrency", "arm", "block", "repetition", "event"]
    total = samples[samples.part == "total"].groupby(sample).duration_ns.sum()
    parts = samples[samples.part != "total"].groupby(sample).duration_ns.sum()
    assert (total == parts).all()
    assert samples.duration_ns.min() >= 0


def test_the_parts_leave_next_to_nothing(samples, config, results):
    sample = ["option", "concurrency", "arm", "block", "repetition", "event"]
    total = samples[samples.part == "total"].set_index(sample).duration_ns
    rest = samples[samples.part == "unattributed"].set_index(sample).duration_ns
    assert (rest / total).groupby("option").median().max() <= 0.02
    # And each time stamp of the server, and each note of its models, was there to cut with.
    request = {"serialise", "send", "accept", "answer", "receive", "deserialise"}
    model = {"queue", "compute_input", "compute_output"}
    if read_choice(results / "model_repo")["backend"] == "python":
        model |= {"hand_over", "convert", "hand_back"}
    for option, entry in config["options"].items():
        parts = set(samples[(samples.option == option) & (samples.arm == "option")].part)
        assert parts.isdisjoint(request | model) == (not entry["serve"]), option
        assert not entry["serve"] or request | model <= parts, option


def test_every_stage_is_booked_where_its_option_runs_it(samples, config):
    for option, entry in config["options"].items():
        rows = samples[(samples.option == option) & (samples.arm == "option")]
        served = STAGES if isinstance(entry["serve"], str) else entry["serve"]
        for stage in STAGES:
            part = "compute_infer" if stage in served else "compute"
            other = {"compute", "compute_infer"} - {part}
            parts = set(rows[rows.stage == stage].part)
            assert part in parts and not parts & other, (option, stage)


def test_the_tables_agree(results):
    cell = ["option", "concurrency"]
    summary = read_summary(results / "summary.csv")
    breakdown = pd.read_csv(results / "breakdown.csv").groupby(cell)
    samples = read_timings(results.glob("timings/S?/round1.parquet"))
    blocks = read_blocks(results.glob("timings/S?/round1.blocks.parquet"))
    config = yaml.safe_load((results.parents[1] / SMOKE[1]).read_text())
    min_blocks = config["measure"]["min_blocks"]
    # The one adds up the samples' parts, the other trims the means of the same blocks.
    shown = total_rows(comparable(samples, blocks, summary, min_blocks))
    means = shown.groupby(cell).duration_ns.mean() / 1e6
    np.testing.assert_allclose(breakdown.mean_ms.sum()[means.index], means)
    np.testing.assert_allclose(breakdown.share.sum(), 1)
    of_blocks = shown.groupby([*cell, "block"]).duration_ns.mean().div(1e6).groupby(cell)
    trimmed = summary.set_index(cell).mean_ms
    assert (of_blocks.min()[trimmed.index] <= trimmed).all()
    assert (trimmed <= of_blocks.max()[trimmed.index]).all()


def test_the_tracks_are_tracks(results):
    physics = pd.read_csv(results / "physics.csv")
    performance = tracking_performance(physics, "exatrkx")
    assert performance["technical efficiency, A"]["total"] > 100
    assert performance["technical efficiency, A"]["value"] > 0.9
    assert performance["edge efficiency after building, all particles"]["value"] > 0.98
    assert physics[physics.quantity == "time_mean_ms"].total.tolist() == [5] * 3


def test_every_method_is_compared_on_the_same_graph(results):
    physics = pd.read_csv(results / "physics.csv")
    assert list(dict.fromkeys(physics.method)) == ["exatrkx", "walkthrough", "CKF"]
    exatrkx, walk = (tracking_performance(physics, name) for name in ("exatrkx", "walkthrough"))
    for name in ("edge efficiency after filtering, A", "edge purity after building, all particles"):
        assert walk[name] == exatrkx[name]
    assert walk["purity"]["value"] > exatrkx["purity"]["value"]


def test_every_output_is_there(results):
    for figure in (
        *("comparison", "overhead", "latency_vs_concurrency", "throughput_vs_concurrency"),
        *("latency_distribution", "time_vs_space_points", "ensemble_timeline", "resources"),
        *("efficiency", "fake_and_duplicate_rates", "efficiency_vs_time", "event_display"),
        *("learning_curves", "efficiency_vs_cut"),
    ):
        assert (results / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (results / "figures" / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
    page = (results / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 14
    provenance = json.loads((results / "provenance.json").read_text())
    assert provenance["common"]["software"]["torch"] and provenance["common"]["machine"]["cpu"]
    assert (results / "logs" / "measure" / "S4_round1.server.log").stat().st_size > 0


def test_the_table_of_a_run_is_found_by_its_configuration(smoke, results):
    files = ["config/config.yaml", "config/smoke.yaml"]
    done = subprocess.run(
        [sys.executable, "-m", "exatrkx_service.analysis.table", *files],
        cwd=smoke.folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "src"},
    )
    rows = [line.split() for line in done.stdout.splitlines()[1 : 1 + 2 * len(OPTIONS)]]
    assert [(row[0], row[1], row[-1] in ("stable", "unstable")) for row in rows] == [
        (option, clients, True) for option in OPTIONS for clients in "12"
    ]
    assert done.stdout.endswith(f"report: {(results / 'report.html').resolve()}\n")


def test_a_second_run_does_nothing(smoke):
    assert "Nothing to be done" in smoke.run(*SMOKE)


def test_plots_are_made_from_existing_timings_and_tracks(smoke, results):
    made = [*results.glob("timings/*/*"), *results.glob("exatrkx/*"), *results.glob("methods/*/*")]
    before = {path: path.stat().st_mtime_ns for path in made}
    for path in results.glob("figures/*"):
        path.unlink()
    smoke.run("plots", "physics", *SMOKE)
    assert len(list(results.glob("figures/*.png"))) == 14
    assert before == {path: path.stat().st_mtime_ns for path in made}


def test_snakemakes_own_report_can_be_made(smoke, results):
    smoke.run(*SMOKE, "--report", "snakemake.html")
    page = (smoke.folder / "snakemake.html").read_text()
    assert all(figure.name in page for figure in results.glob("figures/*.png"))


def test_an_option_can_be_repeated_alone(smoke):
    plan = smoke.run("S3", "--forcerun", "measure", "--dry-run", *SMOKE)
    assert "Measuring S3" in plan
    assert not any(f"Measuring {option}" in plan for option in OPTIONS if option != "S3")


def test_an_option_of_the_users_own(smoke):
    overlay = smoke.overlay("mine.yaml", options={"S6": {"serve": ["gnn"]}})
    smoke.run("S6", "--configfile", "config/smoke.yaml", overlay)
    path = smoke.folder / "results/smoke/timings/S6/round1.parquet"
    rows = pd.read_parquet(path)
    remote = set(rows[rows.part == "send"].stage)
    assert remote == {"gnn"}
    reference = pd.read_parquet(smoke.folder / "results/smoke/reference.parquet")
    found = rows[rows.part == "total"].drop_duplicates("event").set_index("event").labels_sha256
    assert found.to_dict() == reference.set_index("event").labels_sha256.to_dict()


def start_measuring(smoke, option):
    """Starts to measure an option anew; returns when its server is there."""
    process = subprocess.Popen(
        smoke.command(option, "--forcerun", "measure", *SMOKE),
        cwd=smoke.folder,
        env=smoke.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Where the tests run in the background, Ctrl-C is ignored, and that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not smoke.servers():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    return process


def assert_all_end(smoke):
    """No server is left; they get time to stop."""
    deadline = time.monotonic() + 60
    while smoke.servers() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not smoke.servers()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_server(smoke, number):
    process = start_measuring(smoke, "S1")
    # As a terminal does: Ctrl-C goes to all processes in its foreground.
    os.killpg(process.pid, number)
    assert process.wait(60) != 0
    assert_all_end(smoke)
    smoke.run("S1", *SMOKE)  # and the next run does what is left


def test_a_killed_measuring_job_leaves_no_server(smoke):
    process = start_measuring(smoke, "S5")
    guard = smoke.servers()[0].parent()
    guard.parent().kill()  # the job
    assert_all_end(smoke)
    assert process.wait(60) != 0


def test_a_changed_model_configuration_is_measured_anew(smoke):
    path = smoke.folder / "model_repo" / "gnn" / "config.pbtxt"
    path.write_text(path.read_text() + "# tuned\n")
    plan = smoke.run("--dry-run", *SMOKE)
    assert "Measuring S1" in plan and "Measuring S0" in plan


def test_changed_code_of_the_pipeline_is_measured_anew(smoke):
    path = smoke.folder / "src" / "exatrkx_service" / "pipeline" / "building.py"
    path.write_text(path.read_text() + "# tuned\n")
    plan = smoke.run("--dry-run", *SMOKE)
    assert "Finding the tracks that every option must give" in plan and "Measuring S0" in plan
