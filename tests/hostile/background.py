"""Runs of Snakemake in the background, and what they must not leave."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

SMOKE = ("--configfile", "config/smoke.yaml")
# Two options are enough for most cases, in a folder of their own where results must not mix.
TWO = ("--config", "options={S1: null, S3: null, S4: null, S5: null}")


class Run:
    """A run of Snakemake in the background, whose output can be waited for."""

    def __init__(self, checkout, *arguments: str, **environment: str) -> None:
        self.checkout = checkout
        self.process = subprocess.Popen(
            checkout.command(*arguments),
            cwd=checkout.folder,
            env={**checkout.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Where the tests run in the background, Ctrl-C is ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str, timeout_s: float = 120) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.process.poll() is None and time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def wait_for_server(self) -> None:
        deadline = time.monotonic() + 120
        while not self.checkout.servers():
            assert self.process.poll() is None and time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def signal_all(self, number: int) -> None:
        """As a terminal does, to all processes in its foreground."""
        os.killpg(self.process.pid, number)

    def end(self, timeout_s: float = 120) -> int:
        code = self.process.wait(timeout_s)
        self._reader.join(10)
        return code


def assert_nothing_left(checkout, timeout_s: float = 60) -> None:
    """No server, no job, no folder of theirs, no shared memory."""
    deadline = time.monotonic() + timeout_s
    while (checkout.servers() or _left(checkout)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not checkout.servers()
    assert not _left(checkout)


def _left(checkout) -> list[Path]:
    return list(checkout.temporary.glob("exatrkx-server-*"))
