"""Runs a server that cannot outlive its owner; a program of its own, started by ``process``.

The owner holds the other end of the standard input. When that closes, because the owner is done or
because it was killed, the guard stops the server: SIGTERM, then SIGKILL for its model processes,
then for itself. An owner that wants nothing more of the server, as after an error, writes ``KILL``
before: then it is SIGKILL at once, for a server whose models hang would take all the time it has. A
signal from the kernel at the owner's death would not do: a Triton that is still loading its models
dies of a SIGTERM and leaves their processes. What the server leaves, processes, shared memory and a
folder of its Python backend, the guard removes; after an owner that was killed the server's files.
The last of several servers to end removes the folders of all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_LIBC = ctypes.CDLL(None, use_errno=True)
SHARED_MEMORY = Path("/dev/shm")
# The Python backend makes one for the environments of its models, whatever TMPDIR says; a server
# that is killed leaves it. There are none in ours, so it is empty.
FOLDERS = (Path("/tmp"), "python_env_*")
BACKEND = "libtriton_python.so"
KILL = b"kill"
STUB = "triton_python_backend_stub"  # the program that runs a Python model
# Python starts one beside programs that share memory: it removes that when the last of them ended.
TRACKER = "multiprocessing.resource_tracker"
START_S = 1.0  # until one that was just forked is known by its command [s]
TRACKER_S = 20.0  # to do so, on a machine that is busy too [s]


def _name(process: psutil.Process) -> str:
    """The name of a process's program; empty if it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


def _kill_models(pid: int) -> None:
    """Kills the processes of Python models of a server."""
    for process in psutil.Process(pid).children(recursive=True):
        if _name(process) == STUB:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _is_tracker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # a zombie as well
        return any(TRACKER in word for word in process.cmdline())
    return False


def _kill_descendants() -> None:
    """Kills what this process has started, and what that starts meanwhile; trackers at last."""
    # The owner of a server that died waits to be told so; models have no trackers.
    left = psutil.Process().children(recursive=True)
    # A zombie has the first 15 letters of its name left.
    if not all(STUB.startswith(_name(process)) for process in left):
        time.sleep(START_S)
    until = time.monotonic() + TRACKER_S
    while left := psutil.Process().children(recursive=True):
        others = [process for process in left if not _is_tracker(process)]
        if others or time.monotonic() > until:
            for process in others or left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        psutil.wait_procs(others or left, timeout=0.1)


def _stop_when_the_owner_is_gone(server: subprocess.Popen, timeout_s: float) -> None:
    if sys.stdin.buffer.read() == KILL:
        server.kill()
        return
    server.terminate()
    # A server writes its trace when the last of its models has ended, and one can hang at its end.
    for kill in (lambda: _kill_models(server.pid), server.kill):
        try:
            server.wait(timeout_s / 2)
            return
        except subprocess.TimeoutExpired:
            with contextlib.suppress(psutil.NoSuchProcess):
                kill()


def _backend_lives() -> bool:
    """Whether any process that this user can see into has the Python backend loaded."""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if BACKEND in maps.read_text(errors="replace"):
                return True
    return False


def _remove_backend_folders() -> None:
    """Removes what servers of this user left, unless one lives: it aborts without its folder."""
    place, pattern = FOLDERS
    # In this order: one that comes after the list is not in it, one that is in it can be seen.
    folders = list(place.glob(pattern))
    if _backend_lives():
        return
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty, or another user's
            if folder.stat().st_uid == os.getuid():
                folder.rmdir()


def guard(timeout_s: float, region: str, work: str, command: list[str]) -> int:
    """Runs the command until it ends or the standard input closes.

    Args:
        timeout_s: grace between SIGTERM and the last SIGKILL [s].
        region: beginning of the names of its shared memory.
        work: its folder, which is the owner's to remove unless that was killed.
        command: program and arguments.

    Returns:
        The command's exit code; 128 plus the number of the signal that ended it.
    """
    # The model processes of a server that was killed become the guard's children.
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Meant for the owner, who closes the input then. A handler, for a program would inherit
        # that a signal is ignored.
        signal.signal(number, lambda *_: None)
    owner = os.getppid()
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    threading.Thread(
        target=_stop_when_the_owner_is_gone, args=(server, timeout_s), daemon=True
    ).start()
    code = server.wait()
    _kill_descendants()
    for segment in SHARED_MEMORY.glob(f"{region}*"):
        segment.unlink(missing_ok=True)
    _remove_backend_folders()
    if os.getppid() != owner:
        shutil.rmtree(work, ignore_errors=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # os._exit: the thread may still wait for the input.
    os._exit(guard(float(sys.argv[1]), *sys.argv[2:4], sys.argv[4:]))
