"""Keeps two measurements on one machine from disturbing each other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil

LOCKS = Path("/tmp")  # of this machine; TMPDIR may be a folder that many machines see
PAUSE_S = 0.5


@contextlib.contextmanager
def only_measurement(job: str, say: Callable[[str], None]) -> Iterator[None]:
    """Keeps other measurements of this user on this machine waiting for as long as it lasts.

    Args:
        job: what is measured, for those who wait.
        say: gets one line, on the terminal, if this one has to wait: for whom, and since when.
    """
    path = LOCKS / f"exatrkx-service-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        if not _take(file):
            say(f"waiting for another measurement on this machine: {_holder(path)}; {path}")
            # In slices: the kernel may give a signal to another thread, which wakes no wait of this
            # one, and Python handles signals here alone.
            while not _take(file):
                time.sleep(PAUSE_S)
        file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "job": job, "since": since, "folder": str(Path.cwd())}
        json.dump(holder, file)
        file.flush()
        yield


def _take(file: object) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    """Who holds the lock, as the holder wrote it there."""
    try:
        holder = json.loads(path.read_text())
        text = f"{holder['job']} in {holder['folder']}, process {holder['pid']}, since "
        text += f"{holder['since']}"
        state = psutil.Process(holder["pid"]).status()
    except psutil.NoSuchProcess:
        return f"{text}, which has ended and left a process that holds the lock (`fuser -v {path}`)"
    except (ValueError, KeyError, TypeError):
        return f"of an unknown process (`fuser -v {path}` names it)"
    stopped = ", which is stopped: `kill -CONT` or `kill -KILL` it"
    return text + (stopped if state == psutil.STATUS_STOPPED else "")
