"""A server process that cannot outlive its owner, and its owner's clean end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[2]  # the folder that holds this package


@contextlib.contextmanager
def guarded_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    region: str,
    stop_timeout_s: float,
) -> Iterator[subprocess.Popen]:
    """Runs a program for as long as the block lasts, under a guard (see ``guard``).

    On every way out of the block, and if this process is killed, the guard stops the program and
    removes what it leaves.

    Args:
        command: program and arguments.
        environment: the whole environment of the program.
        log: file that gets its output.
        region: beginning of the names of its shared memory.
        stop_timeout_s: grace between SIGTERM and SIGKILL [s].

    Yields:
        The guard's process. It ends when the program does, with its exit code, or 128 plus the
        number of the signal that ended it.
    """
    guard = [sys.executable, "-m", "exatrkx_service.serving.guard", str(stop_timeout_s), region]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*guard, *command],
            env=dict(environment),
            # First on the module path of the guard and of the served models: so they run the
            # client's code, also where the package is not installed.
            cwd=PACKAGES,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C in the terminal reaches the owner, who stops the server.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


@contextlib.contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Turns SIGTERM into SystemExit, so that ``finally`` blocks run when a job is cancelled."""

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(128 + signum)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
