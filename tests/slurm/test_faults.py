"""Faults on a cluster, against the real daemons: nothing hangs, nothing is half-written.

After each of them the next `snakemake --profile slurm` does what is left.
"""

import os
import signal
import time
from pathlib import Path

import pandas as pd
from runs import PROFILE, SMOKE, Run, ask, assert_nothing_left, queue, segments, servers

AGAIN = ("S5", "--forcerun", "measure", *SMOKE)


def samples(checkout):
    return checkout.folder / "results" / "smoke" / "timings" / "S5" / "round1.parquet"


def assert_half_written_nothing(checkout):
    folder = samples(checkout).parent
    assert not list(folder.glob("*")), "a job that failed left its outputs"


def assert_the_next_run_finishes(checkout):
    output = checkout.run(*PROFILE, "S5", *SMOKE)
    assert "Measuring S5" in output
    assert (pd.read_parquet(samples(checkout)).status == "ok").all()
    assert "Nothing to be done" in checkout.run(*PROFILE, "S5", *SMOKE)


def job_log(checkout, job: str) -> Path:
    (log,) = checkout.folder.glob(f".snakemake/slurm_logs/**/{job}.log")
    return log


def test_a_cancelled_job(cluster, on_slurm):
    run = Run(on_slurm, *AGAIN)
    job, memory = run.wait_for_measuring(), segments()
    ask("scancel", job)
    code, output = run.end()
    assert code != 0
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED" in output
    assert str(job_log(on_slurm, job)) in output
    assert_nothing_left(memory)
    assert_half_written_nothing(on_slurm)
    assert_the_next_run_finishes(on_slurm)


def test_snakemake_interrupted(cluster, on_slurm):
    run = Run(on_slurm, *AGAIN)
    run.wait_for_measuring()
    memory = segments()
    os.killpg(run.process.pid, signal.SIGINT)
    code, _ = run.end()
    assert code != 0
    assert_nothing_left(memory)
    assert_the_next_run_finishes(on_slurm)


def test_the_time_limit(cluster, on_slurm):
    long = on_slurm.overlay("long.yaml", measure={"max_seconds": 1000, "precision": 1e-6})
    run = Run(on_slurm, *AGAIN, long, "--set-resources", "measure:runtime=1")
    job = run.wait_for_measuring()
    memory = segments()
    code, output = run.end()
    assert code != 0
    assert f"SLURM-job '{job}' failed, SLURM status is: 'TIMEOUT'" in output
    assert str(job_log(on_slurm, job)) in output
    assert "DUE TO TIME LIMIT" in job_log(on_slurm, job).read_text()
    assert_nothing_left(memory)
    assert_half_written_nothing(on_slurm)
    assert_the_next_run_finishes(on_slurm)


def test_a_drained_node(cluster, on_slurm):
    """The administrators drain the node and put its job back into the queue."""
    run = Run(on_slurm, *AGAIN)
    job, memory = run.wait_for_measuring(), segments()
    node = ask("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    try:
        ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        ask("scontrol", "requeue", job)
        deadline = time.monotonic() + 60
        while servers() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not {path for path in memory if path.exists()}
        while (job, "PENDING") not in [entry[:2] for entry in queue()]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        # Slurm holds a requeued job back for two minutes.
        ask("scontrol", "update", f"jobid={job}", "starttime=now")
        code, output = run.end()
        assert code == 0, output
    finally:
        ask("scontrol", "update", f"nodename={node}", "state=resume")
    assert ask("sacct", "-X", "-n", "-P", "-j", job, "--format=NodeList").strip() != node
    assert (pd.read_parquet(samples(on_slurm)).status == "ok").all()
    assert_nothing_left(memory)


def test_slurmctld_restarted(cluster, on_slurm):
    run = Run(on_slurm, *AGAIN)
    job = run.wait_for_measuring()
    cluster.stop("slurmctld")
    time.sleep(15)  # more than one question for the state of the job comes to nothing
    cluster.start("slurmctld")
    code, output = run.end()
    assert code == 0, output
    assert (pd.read_parquet(samples(on_slurm)).status == "ok").all()
    assert ask("sacct", "-X", "-n", "-P", "-j", job, "--format=State").strip() == "COMPLETED"


def test_squeue_fails_for_a_while(cluster, on_slurm, tmp_path):
    wrapper = tmp_path / "squeue"
    broken = tmp_path / "broken"
    wrapper.write_text(
        f"#!/bin/sh\nif [ -e {broken} ]; then echo >> {broken}\n"
        "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1; fi\n"
        'exec /usr/bin/squeue "$@"\n'
    )
    wrapper.chmod(0o755)
    run = Run(on_slurm, *AGAIN, PATH=f"{tmp_path}:{os.environ['PATH']}")
    run.wait_for_measuring()
    broken.touch()
    while queue():  # the job ends while nobody can ask for it
        time.sleep(0.2)
    # More often than the plugin asks by itself before it gives up.
    deadline = time.monotonic() + 180
    while broken.read_text().count("\n") < 8:
        assert run.process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    broken.unlink()
    code, output = run.end()
    assert code == 0, output
    assert (pd.read_parquet(samples(on_slurm)).status == "ok").all()


WRONG = {
    "slurm_account=wrong": "The given account wrong appears to be invalid",
    "slurm_partition=wrong": "invalid partition specified: wrong",
    "qos=wrong": "Invalid qos specification",
}


def test_a_wrong_name_of_the_site(cluster, on_slurm):
    for wrong, message in WRONG.items():
        arguments = (*PROFILE, *AGAIN, "--default-resources", wrong)
        assert message in on_slurm.run(*arguments, fails=True)
        assert not queue()
    assert_the_next_run_finishes(on_slurm)
