"""The benchmark through a real Slurm, with `snakemake --profile slurm`."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml
from runs import PROFILE, SMOKE, SOON, accounted, ask, queue, servers

OPTIONS = ["S0", "S1", "S2", "S3", "S4", "S5"]


def read(checkout, name: str) -> pd.DataFrame:
    path = checkout.folder / "results" / "smoke" / name
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def hashes(checkout) -> dict:
    """The SHA-256 of the events' files, by event."""
    folder = checkout.folder / "results/smoke/events/benchmark"
    manifests = [json.loads(path.read_text()) for path in folder.glob("events_*.json")]
    return {event: files for manifest in manifests for event, files in manifest["events"].items()}


def assert_gives_the_same(there, here):
    """Two runs of the smoke benchmark have the same events, labels and rows of the tables."""
    assert hashes(there) == hashes(here)
    name = "reference.parquet"
    pd.testing.assert_frame_equal(read(there, name), read(here, name))
    columns = ["option", "concurrency", "n_events", "n_failed", "tracks_identical"]
    one, other = (read(checkout, "summary.csv")[columns] for checkout in (here, there))
    pd.testing.assert_frame_equal(other, one)
    assert other.option.unique().tolist() == OPTIONS and other.tracks_identical.all()
    keys = ["option", "concurrency", "stage", "part"]
    one, other = (read(checkout, "breakdown.csv")[keys] for checkout in (here, there))
    pd.testing.assert_frame_equal(other, one)
    for option in OPTIONS:
        name = f"timings/{option}/round1.parquet"
        one, other = (
            # How often each event is measured, the machine decides.
            rows[rows.part == "total"].groupby(["concurrency", "arm", "event"]).labels_sha256
            for rows in (read(here, name), read(there, name))
        )
        assert one.unique().map(list).to_dict() == other.unique().map(list).to_dict()
    figures = {path.name for path in (here.folder / "results/smoke/figures").glob("*.png")}
    found = {path.name for path in (there.folder / "results/smoke/figures").glob("*.png")}
    assert found == figures and (there.folder / "results/smoke/report.html").exists()
    assert not servers() and not queue()


def test_the_smoke_benchmark_gives_what_it_gives_locally(smoke, on_slurm):
    assert_gives_the_same(on_slurm.first, smoke)


def test_every_measurement_has_a_node_for_itself(on_slurm):
    jobs = accounted(on_slurm.output)
    assert (jobs.state == "COMPLETED").all()
    measurements = jobs[jobs.comment.str.contains("rule_measure_")]
    names = [comment.rpartition("wildcards_")[2] for comment in measurements.comment]
    assert sorted(names) == [f"{option}_1" for option in OPTIONS]
    assert_alone(jobs, measurements)


def assert_alone(jobs, measurements):
    """Nothing ran on a node while a measurement did."""
    for one in measurements.itertuples():
        for other in jobs[(jobs.node == one.node) & (jobs.id != one.id)].itertuples():
            # Slurm counts in seconds: the next job can begin in the one in which this one ends.
            assert other.start >= one.end or other.end <= one.start, (one, other)


def test_rounds_are_interleaved(on_slurm):
    overlay = on_slurm.overlay(
        "rounds.yaml",
        options={name: {"serve": []} for name in ("A", "B", "C")},
        measure={"concurrency": [1], "rounds": 3, "max_seconds": 0.1, "warmup_events": 1},
    )
    output = on_slurm.run(*PROFILE, "A", "B", "C", *SMOKE, overlay)
    jobs = accounted(output)
    measurements = jobs[jobs.comment.str.contains("rule_measure_")].copy()
    measurements["round"] = measurements.comment.str[-1].astype(int)
    assert measurements.groupby("round").size().tolist() == [3, 3, 3]
    assert measurements.sort_values("start")["round"].is_monotonic_increasing or (
        # Two that began in the same second have no order.
        measurements.groupby("round").start.max().iloc[:-1].tolist()
        <= measurements.groupby("round").start.min().iloc[1:].tolist()
    )
    assert_alone(jobs, measurements)


def test_no_accounting(plain_cluster, smoke_runs):
    """The same on a cluster without accounting, where sacct has nothing to say."""
    here, there = smoke_runs
    assert there.output.count("has been submitted with SLURM jobid") > len(OPTIONS)
    assert_gives_the_same(there, here)


def test_no_program_sacct(plain_cluster, make_checkout, tmp_path):
    """Snakemake's plugin cannot do without the program; it says so, and nothing hangs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in filter(os.path.isdir, os.environ["PATH"].split(":")):
        for program in Path(folder).iterdir():
            link = programs / program.name
            if program.name != "sacct" and not os.path.lexists(link):
                link.symlink_to(program)
    output = make_checkout().run(*PROFILE, "S0", *SMOKE, PATH=str(programs), fails=True)
    assert "No such file or directory: 'sacct'" in output
    assert not queue()


@pytest.mark.parametrize(
    ("profile", "site", "asked"),
    [
        (
            "v100",
            {"slurm_account": "physics", "slurm_partition": "other"},
            ["cpu=32,", "gres/gpu:v100=1", "|physics|other|"],
        ),
        (
            "perlmutter",
            {"slurm_account": "physics"},
            ["cpu=128,", "gres/gpu=1", "|physics|main|regular|gpu"],
        ),
    ],
)
def test_the_profiles_of_sites_are_taken_by_slurm(cluster, on_slurm, profile, site, asked):
    """The measuring job gets what the profile asks for, from a Slurm that has such GPUs."""
    folder = on_slurm.folder / "profiles" / profile
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["default-resources"] |= site
    del settings["configfile"], settings["software-deployment-method"]  # there is no conda here
    edited = on_slurm.folder / "profiles" / f"my-{profile}"
    edited.mkdir(exist_ok=True)
    (edited / "config.yaml").write_text(yaml.safe_dump(settings))
    arguments = ["--profile", f"profiles/{edited.name}", *SOON, "S0", "--forcerun", "measure"]
    # There is no GPU behind the one that Slurm gives here.
    output = on_slurm.run(
        *arguments, *SMOKE, on_slurm.overlay("cpu.yaml", pipeline={"device": "cpu"})
    )
    (job,) = accounted(output).query("comment.str.contains('rule_measure')").id
    columns = "ReqTRES%200,Account,Partition,QOS,Constraints"
    line = ask("sacct", "-X", "-n", "-P", "--jobs", job, "--format", columns)
    assert [text for text in asked if text not in line] == [], line
