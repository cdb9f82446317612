"""The benchmark through a real Slurm, with `snakemake --profile slurm`."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml
from runs import PROFILE, SMOKE, accounted, ask, queue, servers

OPTIONS = ["S0", "S1", "S2", "S3", "S4", "S5"]
TINY = {
    "results": "results/tiny",
    "events": {"n_events": 2, "chunk_size": 1},
    "measure": {"concurrency": [1], "rounds": 1, "repetitions": 1, "warmup_events": 1},
}


def read(checkout, name: str) -> pd.DataFrame:
    path = checkout.folder / "results" / "smoke" / name
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def hashes(checkout) -> dict:
    """The SHA-256 of the events' files, by event."""
    folder = checkout.folder / "results/smoke/events/benchmark"
    manifests = [json.loads(path.read_text()) for path in sorted(folder.glob("events_*.json"))]
    return {"files": [manifest["files"] for manifest in manifests]}


def test_the_smoke_benchmark_gives_what_it_gives_locally(on_slurm, smoke):
    assert hashes(on_slurm) == hashes(smoke)
    pd.testing.assert_frame_equal(
        read(on_slurm, "reference.parquet"), read(smoke, "reference.parquet")
    )
    columns = ["option", "concurrency", "n_events", "n_failed", "tracks_identical"]
    here, there = (read(checkout, "summary.csv")[columns] for checkout in (smoke, on_slurm))
    pd.testing.assert_frame_equal(there, here)
    assert there.option.unique().tolist() == OPTIONS and there.tracks_identical.all()
    keys = ["option", "concurrency", "stage", "part"]
    here, there = (read(checkout, "breakdown.csv")[keys] for checkout in (smoke, on_slurm))
    pd.testing.assert_frame_equal(there, here)
    for option in OPTIONS:
        name = f"timings/{option}/round1.parquet"
        one, other = (
            rows[rows.part == "total"].sort_values(["concurrency", "repetition", "event"])
            for rows in (read(smoke, name), read(on_slurm, name))
        )
        assert one.labels_sha256.tolist() == other.labels_sha256.tolist()
    figures = on_slurm.folder.glob("results/smoke/figures/*.png")
    assert len(list(figures)) == 11 and (on_slurm.folder / "results/smoke/report.html").exists()
    assert not servers() and not queue()


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
        measure={"concurrency": [1], "rounds": 3, "repetitions": 1, "warmup_events": 1},
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


def test_no_accounting_and_no_sacct(plain_cluster, make_checkout, tmp_path):
    """A cluster without accounting, on a machine that has no program sacct."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in filter(os.path.isdir, os.environ["PATH"].split(":")):
        for program in Path(folder).iterdir():
            link = programs / program.name
            if program.name != "sacct" and not os.path.lexists(link):
                link.symlink_to(program)
    checkout = make_checkout()
    overlay = checkout.overlay("tiny.yaml", **TINY)
    output = checkout.run(*PROFILE, "S0", "S5", "--configfile", overlay, PATH=str(programs))
    assert output.count("has been submitted with SLURM jobid") >= 5
    for option in ("S0", "S5"):
        rows = pd.read_parquet(checkout.folder / f"results/tiny/timings/{option}/round1.parquet")
        assert (rows.status == "ok").all() and rows.event.nunique() == 2
    assert not servers() and not queue()
    # ... and where sacct is there, but has nothing to say.
    checkout.run(*PROFILE, "S0", "--forcerun", "measure", "--configfile", overlay)


@pytest.mark.parametrize(
    ("profile", "site", "model"),
    [
        ("v100", {"slurm_account": "physics", "slurm_partition": "other"}, "v100"),
        ("perlmutter", {"slurm_account": "physics"}, "a100"),
    ],
)
def test_the_profiles_of_sites_are_taken_by_slurm(cluster, on_slurm, profile, site, model):
    """The measuring job gets what the profile asks for, from a Slurm that has such GPUs."""
    folder = on_slurm.folder / "profiles" / profile
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["default-resources"] |= site
    del settings["configfile"], settings["software-deployment-method"]  # there is no conda here
    edited = on_slurm.folder / "profiles" / f"my-{profile}"
    edited.mkdir(exist_ok=True)
    (edited / "config.yaml").write_text(yaml.safe_dump(settings))
    arguments = ["--profile", f"profiles/{edited.name}", "S0", "--forcerun", "measure"]
    # There is no GPU behind the one that Slurm gives here.
    output = on_slurm.run(
        *arguments, *SMOKE, on_slurm.overlay("cpu.yaml", pipeline={"device": "cpu"})
    )
    (job,) = accounted(output).query("comment.str.contains('rule_measure')").id
    columns = "ReqTRES%200,Account,Partition,QOS,Constraints"
    line = ask("sacct", "-X", "-n", "-P", "--jobs", job, "--format", columns)
    assert f"gres/gpu:{model}=1" in line and "|physics|" in line
    if profile == "perlmutter":
        assert "|regular|gpu" in line
