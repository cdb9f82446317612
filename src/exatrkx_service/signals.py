"""How a process ends: with its Snakemake, and in order when it is told to."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

ENDS = (signal.SIGTERM, signal.SIGHUP)  # Slurm, a time limit; a terminal that was closed


@contextlib.contextmanager
def signals_as_exit() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into SystemExit, so that ``finally`` blocks run."""

    def leave(signum: int, frame: object) -> None:
        raise SystemExit(128 + signum)

    previous = {number: signal.signal(number, leave) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def hangup_as_termination() -> None:
    """Lets Snakemake end in order, and take its lock away, when its terminal is closed."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def end_with_snakemake() -> None:
    """Ends this process, by SIGTERM, as soon as the Snakemake that started it is gone.

    Or the shell between them. A Snakemake that was killed can end no job, and the shell waits.
    """
    above = []
    for process in psutil.Process().parents():
        above.append(process.pid)
        if _is_snakemake(process):
            break
    else:
        return
    try:
        ends = [os.pidfd_open(pid) for pid in above]
    except OSError:  # one is gone already, or an old kernel
        return

    def wait() -> None:
        select.select(ends, [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="end with Snakemake", daemon=True).start()


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        return any(Path(word).name == "snakemake" for word in process.cmdline()[:4])
    except psutil.Error:
        return False
