"""Runs a track finder of one's own on a sample: a process that gets events and gives tracks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exatrkx_service.config import finder_kind
from exatrkx_service.events.tables import EventFormatError
from exatrkx_service.finders.exchange import read_results, write_events
from exatrkx_service.serving.process import PACKAGES, guarded_process
from exatrkx_service.tracking.method import Method, MethodError

TEMPORARY = "temporary"  # where a finder's libraries keep what is for its time alone
N_LAST = 500  # characters of what a finder said last that an error repeats


def run_finder(
    key: str,
    method: Mapping[str, Any],
    events: Mapping[int, Path],
    work: Path,
    *,
    threads: int,
    timeout_s: float,
) -> Method:
    """Runs a finder on all events, on ``threads`` cores, and checks what it gives.

    What it prints goes where this process prints. Neither the finder nor a process that it started
    is left, however this ends.

    Args:
        key: what the finder is called in errors.
        method: its entry of ``physics.methods``.
        events: folder of each event by its number.
        work: an empty folder.
        threads: cores that it gets, and threads of its libraries.
        timeout_s: it has failed if it takes longer [s].

    Returns:
        Its results; without times if it is a command that wrote none.

    Raises:
        MethodError: it failed, or gave something else than tracks; one line that begins with
            ``key``.
    """
    kind = finder_kind(method)
    key = f"{key}.{kind}: {_shown(method[kind])}"
    given, folder, log = work / "events", work / "tracks", work / "output.txt"
    for place in (given, folder, work / TEMPORARY):
        place.mkdir()
    sizes = write_events(given, events, method.get("settings", {}))
    if kind == "finder":
        module = "exatrkx_service.finders.entry_point"
        # -P: what lies in the working folder is no module.
        command = [sys.executable, "-P", "-m", module, method["finder"], str(threads)]
    else:
        command = _program(key, method["command"])
    begin = time.monotonic_ns()
    code = _run(key, [*command, str(given), str(folder)], log, work, threads, timeout_s)
    took = time.monotonic_ns() - begin
    if code:
        raise MethodError(f"{key}: {_end(code, log)}")
    try:
        method = Method(**read_results(folder, sizes))
    except EventFormatError as error:
        # The folder is gone when somebody reads this.
        told = str(error).replace(f"{folder}/", "")
        raise MethodError(f"{key}: {told}; it {_end(code, log)}") from None
    if method.times["duration_ns"].sum() > took:
        raise MethodError(
            f"{key}: times.csv: the durations add up to {method.times.duration_ns.sum() / 1e9:.3g} "
            f"s, but all took {took / 1e9:.3g} s; expected nanoseconds, of one event after another"
        )
    return method


def _shown(call: str | list[str]) -> str:
    return call if isinstance(call, str) else " ".join(call)


def _program(key: str, command: list[str]) -> list[str]:
    """The command with the path of its program; ``python`` is the one that runs the workflow."""
    if command[0] == "python":
        return [sys.executable, *command[1:]]
    path = shutil.which(command[0])
    if path is None:
        why = "not executable" if Path(command[0]).exists() else "no such program"
        raise MethodError(f"{key}: {command[0]}: {why}; expected one that can be run")
    return [str(Path(path).absolute()), *command[1:]]


def _run(
    key: str, command: list[str], log: Path, work: Path, threads: int, timeout_s: float
) -> int:
    """Runs a command on so many cores; its exit code."""
    temporary = str((work / TEMPORARY).resolve())
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[-threads:])  # the process inherits it
    try:
        with guarded_process(
            command,
            {
                **os.environ,
                "PYTHONPATH": str(PACKAGES),
                "TMPDIR": temporary,
            },
            log,
            region=f"exatrkx-finder-{os.getpid()}-",
            work=work,
            stop_timeout_s=1,
            folder=Path.cwd(),
        ) as process:
            return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise MethodError(
            f"{key}: not done after {timeout_s:g} s; expected less, physics.timeout_s"
        ) from None
    finally:
        os.sched_setaffinity(0, cores)
        with log.open("rb") as output:
            shutil.copyfileobj(output, sys.stdout.buffer)


def _end(code: int, log: Path) -> str:
    """What a command that failed said last, or how it ended."""
    text = log.read_text(errors="replace").strip()
    last = text.splitlines()[-1].strip()[:N_LAST] if text else "it said nothing"
    last = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last)
    if last.startswith("error: "):
        return last.removeprefix("error: ")
    if code > 128:
        try:
            return f"ended by {signal.Signals(code - 128).name}; {last}"
        except ValueError:
            pass
    return f"ended with exit code {code}: {last}"
