"""A child process that cannot outlive its owner."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with(parent: int) -> None:
    """In the child, before it becomes the program: ask for SIGTERM when the parent is gone."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before the line above
        os._exit(1)


@contextlib.contextmanager
def owned_process(
    command: Sequence[str], environment: Mapping[str, str], log: Path, stop_timeout_s: float
) -> Iterator[subprocess.Popen]:
    """Runs a program for as long as the block lasts.

    On every way out of the block the program gets SIGTERM, then SIGKILL after ``stop_timeout_s``,
    with all its descendants. If this process is killed, the kernel sends the SIGTERM. To be
    called from the main thread: the kernel's rule is bound to the thread that starts the child.

    Args:
        command: program and arguments.
        environment: the whole environment of the program.
        log: file that gets its output.
        stop_timeout_s: grace between SIGTERM and SIGKILL [s].
    """
    parent = os.getpid()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A session of its own: Ctrl-C in the terminal reaches the owner, who stops the server.
            start_new_session=True,
            preexec_fn=lambda: _die_with(parent),
        )
    try:
        yield process
    finally:
        stop_tree(process, stop_timeout_s)


def stop_tree(process: subprocess.Popen, timeout_s: float) -> None:
    """Ends a process and its descendants: SIGTERM to the process, later SIGKILL to what is left."""
    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    if process.poll() is None:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(tree, timeout=2)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(alive)


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
