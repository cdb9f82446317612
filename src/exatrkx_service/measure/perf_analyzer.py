"""Triton's own load generator, perf_analyzer: where it comes from, and one run of it.

It is a program in the wheel of tritonclient 2.51.0, the release of the server that nvidia-pytriton
ships. The wheels of other releases hold none, or one that needs a newer glibc; so this wheel is
fetched beside the environment, once.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from exatrkx_service.environment import cleaned
from exatrkx_service.identity import file_sha256
from exatrkx_service.serving.embedded import triton_folder
from exatrkx_service.serving.health import ServerError

PACKAGES = ("libb64-0d",)  # of Debian, for its library
RELEASE = "2.51.0"
WHEEL = f"tritonclient-{RELEASE}-py3-none-manylinux1_x86_64.whl"
SHA256 = "c485bb0123bdf310f90bc8b03d3489b28df2ffed55b30c7eee0b795b48113d52"
MEMBER = f"tritonclient-{RELEASE}.data/data/bin/perf_analyzer"
CUDART = "libcudart.so.12"  # it is loaded, but used for tensors on a GPU alone
INTERVAL_MS = 1000  # how often it looks whether all requests are done


class NoPerfAnalyzer(RuntimeError):
    """The program can't be had, or can't run on this machine."""


class PerfAnalyzerError(RuntimeError):
    """A run that failed."""


class PerfAnalyzer:
    """The program, ready to run.

    Args:
        cache: folder that keeps the program; what it needs is linked there.

    Raises:
        NoPerfAnalyzer: says why it can't run here.
    """

    def __init__(self, cache: Path) -> None:
        self.program = _obtain(cache)
        self.environment = _environment(cache)
        done = self._run("--version")
        if done.returncode:
            raise NoPerfAnalyzer(
                f"perf_analyzer {RELEASE} does not run here: {_last_line(done)} "
                f"(it needs {', '.join(PACKAGES)} of Debian, and {CUDART})"
            )

    def times(
        self,
        url: str,
        protocol: str,
        model: str,
        requests: Sequence[Mapping[str, np.ndarray]],
        clients: int,
        timeout_s: float,
    ) -> list[np.ndarray]:
        """Sends requests to a model in a closed loop.

        Args:
            url: ``host:port`` of the protocol.
            protocol: ``grpc`` or ``http``.
            model: name of the Triton model.
            requests: the inputs of each, by name; client c sends those of the numbers c,
                c + clients, c + 2 clients, ..., in this order.
            clients: how many there are; divides the number of requests.
            timeout_s: how long it may take in all [s].

        Returns:
            Per client int64 (n, 2): start and end of each request [ns], on the system's clock.

        Raises:
            PerfAnalyzerError: it failed, took too long, or sent other than it was told to.
        """
        with tempfile.TemporaryDirectory(prefix="exatrkx-perf-") as folder:
            data, export = Path(folder, "data.json"), Path(folder, "export.json")
            data.write_text(json.dumps({"data": [_encoded(request) for request in requests]}))
            arguments = [
                *("-m", model, "-u", url, "-i", protocol, "--input-data", str(data)),
                *("--concurrency-range", str(clients), "--max-threads", str(clients)),
                *("--request-count", str(len(requests)), "-p", str(INTERVAL_MS)),
                *("--profile-export-file", str(export)),
            ]
            try:
                done = self._run(*arguments, timeout_s=timeout_s)
            except subprocess.TimeoutExpired:
                raise PerfAnalyzerError(
                    f"perf_analyzer, {model}, {clients} clients: not done within {timeout_s:g} s"
                ) from None
            if done.returncode or not export.exists():
                raise PerfAnalyzerError(
                    f"perf_analyzer, {model}, {clients} clients: ended with code "
                    f"{done.returncode}: {_last_line(done)}"
                )
            times = read_export(export)
        if len(times) != len(requests):
            raise PerfAnalyzerError(
                f"perf_analyzer, {model}, {clients} clients: {len(times)} requests in its export; "
                f"expected {len(requests)}"
            )
        return per_client(times, clients)

    def _run(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def read_export(path: Path) -> np.ndarray:
    """The times in a profile export of perf_analyzer.

    It holds all tensors of all requests as text: tens of megabytes, of which the time stamps alone
    are read.

    Returns:
        int64 (n, 2): start and end of each request [ns], in the order of the file.

    Raises:
        PerfAnalyzerError: the file is not such an export.
    """
    text = path.read_bytes()
    starts = re.findall(rb'"timestamp":\s*(\d+)', text)
    ends = re.findall(rb'"response_timestamps":\s*\[\s*(\d+)\s*\]', text)
    if len(starts) != len(ends) or not starts:
        raise PerfAnalyzerError(
            f"{path}: {len(starts)} starts and {len(ends)} ends of requests; expected a profile "
            "export of perf_analyzer, with one response of each request"
        )
    return np.column_stack([np.array(starts, np.int64), np.array(ends, np.int64)])


def per_client(times: np.ndarray, clients: int) -> list[np.ndarray]:
    """Cuts the times of an export into those of each client, which come one after the other.

    Raises:
        PerfAnalyzerError: a client has sent a request before the one before it was answered.
    """
    cut = np.array_split(times, clients)
    for number, own in enumerate(cut):
        if (own[1:, 0] < own[:-1, 1]).any():
            raise PerfAnalyzerError(
                f"perf_analyzer: client {number} of {clients} has two requests under way; expected "
                "its requests in their order, those of one client after those of another"
            )
    return cut


def _encoded(request: Mapping[str, np.ndarray]) -> dict[str, dict[str, object]]:
    return {
        name: {"b64": base64.b64encode(array.tobytes()).decode(), "shape": list(array.shape)}
        for name, array in request.items()
    }


def _obtain(cache: Path) -> Path:
    """The program's file; fetched by pip if it is not in the cache yet."""
    program = cache / f"perf_analyzer-{RELEASE}"
    if program.exists():
        return program
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NoPerfAnalyzer(f"perf_analyzer {RELEASE} is a program for Linux on x86_64")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--timeout", "20"),
            *("--retries", "1", "--disable-pip-version-check", "--only-binary", ":all:"),
            *("--dest", folder, f"tritonclient=={RELEASE}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = Path(folder, WHEEL)
        if done.returncode or not wheel.exists():
            raise NoPerfAnalyzer(
                f"perf_analyzer could not be fetched: pip has no {WHEEL}: {_last_line(done)}"
            )
        if (found := file_sha256(wheel)) != SHA256:
            raise NoPerfAnalyzer(f"{WHEEL}: its SHA-256 is {found}; expected {SHA256}")
        with zipfile.ZipFile(wheel) as file:
            part = Path(folder, "program")
            part.write_bytes(file.read(MEMBER))
        part.chmod(0o755)
        part.replace(program)
    return program


def _environment(cache: Path) -> dict[str, str]:
    # The server is on this machine: no proxy lies between.
    kept = {
        name: value
        for name, value in cleaned(os.environ).items()
        if not name.lower().endswith("_proxy")
    }
    path = [str(_libraries(cache).resolve()), kept.get("LD_LIBRARY_PATH", "")]
    return kept | {"LD_LIBRARY_PATH": ":".join(filter(None, path))}


def _libraries(cache: Path) -> Path:
    """A folder with the CUDA runtime of nvidia-pytriton, under the name that is asked for."""
    folder = cache / "lib"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        own = triton_folder().parents[1] / "nvidia_pytriton.libs"
    except ServerError:
        return folder  # this machine may have one
    for library in own.glob("libcudart-*.so.12*"):
        link = folder / CUDART
        link.unlink(missing_ok=True)
        link.symlink_to(library)
    return folder


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1].strip() if lines else "no output"
