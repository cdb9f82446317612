"""Whether a server still works: its process, the processes of its models, and its loading.

Triton answers for a model process that was killed or stopped as if nothing were wrong with the
rest, or not at all, and says nothing in its log.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from exatrkx_service.serving.guard import STUB

# What Triton's log has when a model cannot be loaded; the server ends by itself only when all the
# others have been loaded and unloaded.
_FAILED = re.compile(
    r'^[EI]\d{4} .*?\] "(failed to load \'.*|Failed to initialize Python stub: .*)"'
)
_STATES = {"T": "was stopped", "t": "is traced", "Z": "has ended", "X": "has ended"}


class ServerError(RuntimeError):
    """The server did not start, or ended or failed when it should not have."""


@dataclass
class Health:
    """Watches the processes of a server that is ready.

    Attributes:
        processes: what each is for, by pid: ``tritonserver``, or the name of a model.
    """

    processes: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pid: int) -> Health:
        """Watches the server and its model processes among the descendants of a process."""
        return cls(dict(_named(pid)))

    def check(self) -> None:
        """Raises ServerError if one of the processes has ended or does not run."""
        for pid, name in self.processes.items():
            state, code = _state(pid)
            if state not in _STATES:
                continue
            reason = _STATES[state]
            if state == "Z" and code & 0x7F:
                reason = f"was ended by {signal.Signals(code & 0x7F).name}"
            elif state in "Tt":
                reason += " (SIGSTOP?)"
            what = "the server" if name == "tritonserver" else f"the process of the model {name}"
            raise ServerError(f"{what} (process {pid}) {reason}")


def _named(pid: int) -> Iterator[tuple[int, str]]:
    for process in psutil.Process(pid).children(recursive=True):
        # The program in front may be a container's; its kernel name is cut to 15 characters.
        if process.name().startswith(STUB[:15]):
            models = [Path(word) for word in process.cmdline() if word.endswith("/model.py")]
            yield process.pid, models[0].parents[1].name if models else "unknown"
        elif process.name() == "tritonserver":
            yield process.pid, "tritonserver"


def _state(pid: int) -> tuple[str, int]:
    """A process's state, and how it ended as wait(2) says it, see proc(5); X where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return fields[0], int(fields[-1])


def load_failure(log: Path) -> str | None:
    """What a server's log says of a model that could not be loaded; None if nothing."""
    for line in log.read_text(errors="replace").splitlines():
        if found := _FAILED.match(line):
            return found.group(1).replace("\\n", "\n  ")
    return None
