"""The machine under a measurement: its limits, and what else happened on it meanwhile.

Everything is read from the kernel (proc(5), cgroups(7)); what it does not tell is None.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

_CGROUP_FILES = Path("/sys/fs/cgroup")
# What may happen on the machine during a block, see ``between``: CPUs kept busy by others, or taken
# by the machine's host, and the share of its periods in which a quota stops us.
LIMITS = {"others": 0.25, "steal": 0.1, "throttled": 0.05}
_TEXT = {
    "others": "other processes kept {:.2f} CPUs busy",
    "steal": "the machine's host took {:.2f} CPUs",
    "throttled": "a CPU quota stopped the processes in {:.0%} of its periods",
}


def limits() -> dict[str, Any]:
    """What this process may use.

    Returns:
        ``cpus_online`` (of the machine), ``affinity`` (numbers of the CPUs that this process may
        run on), ``nice`` (of this process; above 0 others come first), ``cpu_quota`` (CPUs that
        the control groups grant, such as 0.5) and ``memory_limit_gib``; None where there is no
        limit.
    """
    memory = [
        value
        for name in ("memory.max", "memory/memory.limit_in_bytes")
        for value in _numbers_of(name)
        if value < psutil.virtual_memory().total
    ]
    return {
        "cpus_online": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "nice": os.nice(0),
        "cpu_quota": _cpu_quota(),
        "memory_limit_gib": round(min(memory) / 2**30, 2) if memory else None,
    }


def _cpu_quota() -> float | None:
    quotas = []
    for folder in _cgroups("cpu"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = (
                    (folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
                )
            if float(quota) > 0:  # "max" is no number; -1 no limit
                quotas.append(float(quota) / float(period))
    return round(min(quotas), 3) if quotas else None


def _numbers_of(name: str) -> Iterable[int]:
    controller, _, file = name.rpartition("/")
    for folder in _cgroups(controller or "memory"):
        with contextlib.suppress(OSError, ValueError):
            yield int((folder / (file or name)).read_text())


def _cgroups(controller: str) -> list[Path]:
    """Folders of the control groups of this process, each with those above it: versions 1 and 2."""
    folders = []
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots = [_CGROUP_FILES, _CGROUP_FILES / "unified"]
        elif controller in controllers.split(","):
            roots = [_CGROUP_FILES / controllers, _CGROUP_FILES / controller]
        else:
            continue
        for root in roots:
            group = root / path.strip("/")
            # Within a container the path may be that outside of it; its own group is the root.
            folders += [f for f in (group, *group.parents) if f.is_relative_to(root)]
    return list(dict.fromkeys(folders))


def quota_periods() -> tuple[int, int]:
    """Periods of a CPU quota in which this process's control groups ran, and were stopped."""
    counts = [0, 0]
    for folder in _cgroups("cpu"):
        with contextlib.suppress(OSError, ValueError):
            fields = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
            counts[0] += int(fields.get("nr_periods", 0))
            counts[1] += int(fields.get("nr_throttled", 0))
    return counts[0], counts[1]


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, as far as they run."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time that processes have spent [ns]; those that have ended count nothing.

    From the clock of each process, whose number is made of its own: clock_getcpuclockid(3).
    """
    spent = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            spent += time.clock_gettime_ns((~pid << 3) | 2)
    return spent


def pss_mib(pids: Iterable[int]) -> float | None:
    """Proportional set size of processes together [MiB]; None where the kernel does not tell."""
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        except (psutil.Error, AttributeError):
            return None
    return round(total / 2**20, 1)


def affinities(pids: Iterable[int]) -> dict[str, list[int]]:
    """The CPUs that processes may run on, all their threads together, by ``name/pid``.

    A thread that may run on fewer of them than its process has a row of its own:
    ``name/pid/thread``.
    """
    found: dict[str, list[int]] = {}
    for pid in pids:
        with contextlib.suppress(OSError, psutil.Error):
            name = f"{psutil.Process(pid).name()}/{pid}"
            threads = {
                int(path.name): os.sched_getaffinity(int(path.name))
                for path in Path(f"/proc/{pid}/task").iterdir()
            }
            cpus = set().union(*threads.values())
            found[name] = sorted(cpus)
            found |= {f"{name}/{n}": sorted(own) for n, own in threads.items() if own != cpus}
    return found


def disturbances(happened: dict[str, float]) -> str:
    """What of ``between`` was more than ``LIMITS`` allow, in words; empty if nothing was."""
    return "; ".join(
        _TEXT[key].format(happened[key]) for key, limit in LIMITS.items() if happened[key] > limit
    )


@dataclass
class Reading:
    """The counters of the machine at one moment.

    Attributes:
        clock_s: of the monotonic clock [s].
        busy_s, steal_s: time of all CPUs since the start of the machine, in processes and taken by
            its host [s].
        ours_s: CPU time of the processes that are ours [s].
        periods: see ``quota_periods``.
        switches: involuntary context switches of the processes that are ours.
        mhz: mean frequency of the CPUs [MHz]; NaN where it can't be read.
    """

    clock_s: float
    busy_s: float
    steal_s: float
    ours_s: float
    periods: tuple[int, int]
    switches: int
    mhz: float


@dataclass
class Watch:
    """Watches the machine while processes of ours are measured.

    Ours are this process and its descendants, the server among them.
    """

    _spent: dict[tuple[int, float], tuple[float, int]] = field(default_factory=dict)

    def read(self) -> Reading:
        """Reads the counters."""
        times = psutil.cpu_times()
        steal = getattr(times, "steal", 0.0)
        # Time of guests is part of that of users.
        busy = times.user + times.system + times.nice + times.irq + times.softirq
        for process in family(os.getpid()):
            with contextlib.suppress(psutil.Error), process.oneshot():
                key = (process.pid, process.create_time())
                cpu = process.cpu_times()
                switches = process.num_ctx_switches().involuntary
                self._spent[key] = (cpu.user + cpu.system, switches)
        # Those that have ended keep what they had at the last reading.
        ours, switches = (sum(column) for column in zip(*self._spent.values(), strict=True))
        frequency = psutil.cpu_freq()
        mhz = frequency.current if frequency else float("nan")
        return Reading(time.monotonic(), busy, steal, ours, quota_periods(), switches, mhz)


def between(before: Reading, after: Reading) -> dict[str, float]:
    """What happened on the machine between two readings.

    Returns:
        ``window_s``; ``ours``, ``others`` and ``steal``: CPUs kept busy on average by our
        processes, by others (0.5: half of one), and by other guests of the machine's host;
        ``throttled``: share of the quota's periods in which it stopped us; ``switches_per_s``:
        involuntary context switches of ours; ``mhz``: frequency of the CPUs, NaN if not known.
    """
    ran, stopped = (late - early for early, late in zip(before.periods, after.periods, strict=True))
    window = max(after.clock_s - before.clock_s, 1e-9)
    ours = (after.ours_s - before.ours_s) / window
    busy = (after.busy_s - before.busy_s) / window
    return {
        "window_s": round(window, 3),
        "ours": round(ours, 3),
        "others": round(max(0.0, busy - ours), 3),
        "steal": round((after.steal_s - before.steal_s) / window, 3),
        "throttled": round(stopped / ran, 3) if ran else 0.0,
        "switches_per_s": round((after.switches - before.switches) / window, 1),
        "mhz": after.mhz,
    }
