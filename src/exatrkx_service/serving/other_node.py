"""A server on another node of the same Slurm job: what a network between them costs.

The measuring job has two nodes. It starts the server as a step on the other one, so Slurm gives
both nodes at once and ends both together.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any

from exatrkx_service.environment import cleaned, pin
from exatrkx_service.serving.access import Access
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.inquiry import ask_version
from exatrkx_service.serving.launch import owned
from exatrkx_service.serving.process import PACKAGES
from exatrkx_service.serving.serve import ENDPOINT
from exatrkx_service.serving.server import Server, tail

_ADVICE = (
    "expected a Slurm job with two nodes: `nodes: 2` and `tasks: 2` for the rule measure in the "
    "profile, or server.node: same"
)

QUICK_STOP_S = 20  # grace given to the server's step after an error: nothing more is wanted of it


def find_node() -> str:
    """Name of another node of this job.

    Raises:
        ServerError: this is no Slurm job, or it has one node.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or shutil.which("srun") is None:
        raise ServerError(f"server.node: other, but this is no Slurm job; {_ADVICE}")
    here = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    # The variables of a step name the step's nodes; asked for are the job's.
    nodes = _output("squeue", "--noheader", f"--jobs={job}", "--format=%N")
    listed = _output("scontrol", "show", "hostnames", nodes).split()
    others = [node for node in listed if node != here]
    if not others:
        raise ServerError(f"server.node: other, but this job has one node, {here}; {_ADVICE}")
    return others[0]


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"server.node: other: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def step_command(node: str, *command: str) -> list[str]:
    """A command line that runs a command on a node of this job, with all that the job has there."""
    return [
        *("srun", f"--nodelist={node}", "--nodes=1", "--ntasks=1", "--overlap"),
        *("--mem=0", "--cpu-bind=none", "--mpi=none", "--export=ALL", "--kill-on-bad-exit=1"),
        *command,
    ]


def step_environment() -> dict[str, str]:
    """The environment of a new step: of Slurm's variables, those of the job, not of this step."""
    keep = {"SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CONF", "SLURM_CLUSTER_NAME"}
    variables = {
        name: value
        for name, value in cleaned(os.environ).items()
        if name in keep or not name.startswith(("SLURM", "SRUN", "SBATCH"))
    }
    pin(variables, {"PYTHONPATH": str(PACKAGES)})
    return variables


@contextlib.contextmanager
def launch_on_other_node(
    model_repository: Path,
    models: Sequence[str],
    work: Path,
    settings: Mapping[str, Any],
    pipeline: Mapping[str, Any],
    *,
    log: Path,
    largest: Mapping[str, int] | None = None,
) -> Iterator[Server]:
    """Runs a server on another node for as long as the block lasts; arguments as of ``launch``.

    The work folder and the log must be seen by both nodes.

    Raises:
        ServerError: there is no other node, the server did not start or publish itself in time, or
            it died and so a request in the block failed.
    """
    node = find_node()
    work.mkdir(parents=True, exist_ok=True)
    order = work / "order.json"
    order.write_text(
        json.dumps(
            {
                "model_repository": str(model_repository.resolve()),
                "models": list(models),
                "work": str(work),
                "settings": dict(settings),
                "pipeline": dict(pipeline),
                "log": str(log.resolve()),
                "largest": largest,
            }
        )
    )
    step = step_command(node, sys.executable, "-m", "exatrkx_service.serving.serve", str(order))
    output = work / "step.log"
    with _running(step, output, stop_timeout_s=settings["stop_timeout_s"] + 10) as process:
        endpoint = _wait_published(process, work / ENDPOINT, output, settings["start_timeout_s"])
        urls = {name: f"{endpoint['host']}:{port}" for name, port in endpoint["ports"].items()}
        server = Server(
            grpc_url=urls["grpc"],
            http_url=urls["http"],
            version=endpoint["version"],
            process=process,
            log=log,
            machine=endpoint["machine"],
            trace=work / "trace.json",
            journals=work / "journals",
            native=tuple(endpoint["native"]),
            networks=endpoint["networks"],
            access=Access(token=endpoint["token"]),
            same_clock=False,
        )
        try:
            ask_version(server.grpc_url, models, access=server.access)
        except ServerError:
            # It can end as soon as it has said where it is.
            server.check_alive(wait_s=10)
            raise
        yield from owned(server)


@contextlib.contextmanager
def _running(step: Sequence[str], log: Path, stop_timeout_s: float) -> Iterator[Popen]:
    """Runs a step for as long as the block lasts, and no longer than this process.

    The step ends when its standard input does, which srun passes on; a signal to srun would kill
    the step at once, and so the server could not write its trace.
    """
    with log.open("wb") as output:
        process = Popen(
            step,
            env=step_environment(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        stop_timeout_s = min(stop_timeout_s, QUICK_STOP_S)
        raise
    finally:
        process.stdin.close()
        try:
            process.wait(stop_timeout_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()


def _wait_published(process: Popen, path: Path, log: Path, timeout_s: float) -> dict[str, Any]:
    """Waits until the server has published its endpoint."""
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        code = process.poll()
        if code is not None:
            raise ServerError(f"the server's step ended with code {code} at start; {tail(log)}")
        if time.monotonic() > deadline:
            raise ServerError(
                f"the server published no endpoint {path} within server.start_timeout_s = "
                f"{timeout_s:g} s; {tail(log)}"
            )
        time.sleep(0.2)
    return json.loads(path.read_text())
