"""Runs of the benchmark through Slurm, and what Slurm and the nodes say of them."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
from network import namespaces, pids

# Slurm is asked for the state of the jobs sooner than the profiles do; see ``soon`` as well.
SOON = ("--slurm-init-seconds-before-status-checks", "1", "--max-status-checks-per-second", "1")
PROFILE = ("--profile", "slurm", *SOON)
SMOKE = ("--configfile", "config/smoke.yaml")


def ask(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def accounted(output: str) -> pd.DataFrame:
    """What the accounting knows of the jobs of a run, from the output of Snakemake."""
    (run_id,) = {line.split()[-1] for line in output.splitlines() if "SLURM run ID" in line}
    columns = ["id", "comment", "node", "start", "end", "state"]
    # Without a time sacct tells of the jobs since midnight.
    command = ("sacct", "-X", "-n", "-P", "--name", run_id, "--starttime=now-1days")
    lines = ask(*command, "--format=JobID,Comment,NodeList,Start,End,State").splitlines()
    jobs = pd.DataFrame([line.split("|") for line in lines], columns=columns)
    assert len(jobs), "the accounting knows of no job"
    return jobs.assign(start=pd.to_datetime(jobs.start), end=pd.to_datetime(jobs.end))


def queue() -> list[tuple[str, str, str]]:
    """Number, state and rule of the jobs that wait or run."""
    lines = ask("squeue", "--noheader", "--format=%i %T %k").splitlines()
    return [tuple(line.split()) for line in lines]


class Run:
    """A run of Snakemake in the background."""

    def __init__(self, checkout, *arguments: str, **environment: str) -> None:
        self.log = checkout.folder / "run.out"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                checkout.command(*PROFILE, *arguments),
                cwd=checkout.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": "", **environment},
                start_new_session=True,
                # Where the tests run in the background, Ctrl-C is ignored, and that is inherited.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait_for_measuring(self) -> str:
        """Waits until a server runs in a measuring job; gives the job's number."""
        deadline = time.monotonic() + 120
        while not (servers() and running_measurements()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        return running_measurements()[0]

    def end(self, timeout_s: float = 480) -> tuple[int, str]:
        """Waits for the end; gives the exit code and the output."""
        try:
            return self.process.wait(timeout_s), self.log.read_text()
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(60)
            raise AssertionError(f"hangs:\n{self.log.read_text()}") from None


def running_measurements() -> list[str]:
    return [job for job, state, rule in queue() if state == "RUNNING" and "rule_measure" in rule]


def servers() -> list[psutil.Process]:
    """The processes of inference servers on the nodes."""
    found = []
    for name in namespaces():
        for pid in pids(name):
            try:
                process = psutil.Process(pid)
                if process.name().startswith(("tritonserver", "triton_python_b")):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
    return found


def segments() -> set[Path]:
    """The shared memory of the servers that run, by its names' beginning."""
    option = "shm-region-prefix-name="
    regions = {
        argument.partition(option)[2]
        for server in servers()
        for argument in server.cmdline()
        if option in argument
    }
    return {path for region in regions for path in Path("/dev/shm").glob(f"{region}*")}


def assert_nothing_left(shared_memory: set[Path], timeout_s: float = 60) -> None:
    """No job, server or shared memory is left; they get time to end."""
    deadline = time.monotonic() + timeout_s
    while (servers() or queue()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not servers() and not queue()
    assert not {path for path in shared_memory if path.exists()}
