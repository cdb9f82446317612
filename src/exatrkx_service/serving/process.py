"""A server process that cannot outlive its owner."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from exatrkx_service.serving.guard import KILL

PACKAGES = Path(__file__).resolve().parents[2]  # the folder that holds this package


@contextlib.contextmanager
def guarded_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    region: str,
    work: Path,
    stop_timeout_s: float,
    folder: Path = PACKAGES,
) -> Iterator[subprocess.Popen]:
    """Runs a program for as long as the block lasts, under a guard (see ``guard``).

    On every way out of the block, and if this process is killed, the guard stops the program and
    removes what it leaves; after an error in the block it kills it.

    Args:
        command: program and arguments.
        environment: the whole environment of the program.
        log: file that gets its output.
        region: beginning of the names of its shared memory.
        work: its folder, which is removed if this process is killed.
        stop_timeout_s: grace between SIGTERM and SIGKILL [s].
        folder: its working folder; with another than the default, ``PYTHONPATH`` has this package.

    Yields:
        The guard's process. It ends when the program does, with its exit code, or 128 plus the
        number of the signal that ended it.
    """
    guard = [sys.executable, "-m", "exatrkx_service.serving.guard"]
    guard += [str(stop_timeout_s), region, str(work.resolve())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*guard, *command],
            env=dict(environment),
            # First on the module path of the guard and of the served models: so they run the
            # client's code, also where the package is not installed.
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C in the terminal reaches the owner, who stops the server.
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(KILL)
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
