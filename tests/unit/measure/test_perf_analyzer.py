import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from exatrkx_service.measure import perf_analyzer as module
from exatrkx_service.measure.perf_analyzer import (
    RELEASE,
    NoPerfAnalyzer,
    PerfAnalyzer,
    PerfAnalyzerError,
    per_client,
    read_export,
)

REQUESTS = [{"payload": np.full((2, 3), number, np.float32)} for number in range(4)]


def export(times):
    """A profile export as perf_analyzer writes it, in which "timestamp" is a name and a number."""
    requests = [
        {
            "timestamp": start,
            "request_inputs": {"payload": [0.0, 7.0]},
            "response_timestamps": [end],
            "response_outputs": [{"answer": [1.5]}],
        }
        for start, end in times
    ]
    experiment = {"experiment": {"mode": "concurrency", "value": 2}, "requests": requests}
    return json.dumps({"experiments": [experiment | {"window_boundaries": [1, 99]}]})


def program(cache, body):
    """Puts a program in the place of perf_analyzer."""
    cache.mkdir(exist_ok=True)
    path = cache / f"perf_analyzer-{RELEASE}"
    path.write_text(f"#!{sys.executable}\nimport sys, json, time\n{textwrap.dedent(body)}")
    path.chmod(0o755)
    return cache


ANSWERS = """
if "--version" in sys.argv:
    sys.exit(0)
value = lambda name: sys.argv[sys.argv.index(name) + 1]
data = json.load(open(value("--input-data")))["data"]
assert int(value("--request-count")) == len(data) and value("-m") == "null"
assert data[1]["payload"]["shape"] == [2, 3]
open(value("--profile-export-file"), "w").write(EXPORT)
"""


def test_times_are_those_of_each_client(tmp_path):
    times = [(10, 20), (21, 30), (11, 19), (19, 33)]
    body = ANSWERS.replace("EXPORT", repr(export(times)))
    analyzer = PerfAnalyzer(program(tmp_path / "cache", body))
    found = analyzer.times("localhost:1", "grpc", "null", REQUESTS, 2, 60)
    assert [own.tolist() for own in found] == [[[10, 20], [21, 30]], [[11, 19], [19, 33]]]


def test_a_run_that_sent_less_is_refused(tmp_path):
    body = ANSWERS.replace("EXPORT", repr(export([(1, 2), (2, 3)])))
    analyzer = PerfAnalyzer(program(tmp_path / "cache", body))
    with pytest.raises(PerfAnalyzerError, match=r"null, 2 clients: 2 requests .* expected 4"):
        analyzer.times("localhost:1", "grpc", "null", REQUESTS, 2, 60)


def test_a_run_that_fails_says_the_last_line(tmp_path):
    body = "if '--version' not in sys.argv: sys.exit('first\\nno such model')"
    analyzer = PerfAnalyzer(program(tmp_path / "cache", body))
    with pytest.raises(PerfAnalyzerError, match="ended with code 1: no such model"):
        analyzer.times("localhost:1", "grpc", "null", REQUESTS, 2, 60)


def test_a_run_that_takes_too_long_is_ended(tmp_path):
    analyzer = PerfAnalyzer(
        program(tmp_path / "cache", "if '--version' not in sys.argv: time.sleep(60)")
    )
    with pytest.raises(PerfAnalyzerError, match=r"not done within 0\.2 s"):
        analyzer.times("localhost:1", "grpc", "null", REQUESTS, 2, 0.2)


def test_an_export_of_something_else_is_refused(tmp_path):
    path = tmp_path / "export.json"
    path.write_text('{"experiments": []}')
    with pytest.raises(PerfAnalyzerError, match=f"{path}: 0 starts and 0 ends"):
        read_export(path)


def test_requests_of_one_client_that_overlap_are_refused():
    overlapping = np.array([[10, 20], [19, 30], [11, 19], [19, 33]])
    with pytest.raises(PerfAnalyzerError, match="client 0 of 2 has two requests under way"):
        per_client(overlapping, 2)


def test_a_program_that_lacks_a_library_names_it(tmp_path):
    body = "sys.exit('perf_analyzer: error while loading shared libraries: libb64.so.0d')"
    with pytest.raises(NoPerfAnalyzer, match=r"libb64\.so\.0d \(it needs libb64-0d of Debian"):
        PerfAnalyzer(program(tmp_path / "cache", body))


def test_where_it_cannot_be_fetched_pip_says_why(tmp_path, monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "no network\nERROR: nothing found\n")

    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    with pytest.raises(NoPerfAnalyzer, match=r"could not be fetched: .*: ERROR: nothing found"):
        PerfAnalyzer(tmp_path / "cache")


def test_another_processor_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    with pytest.raises(NoPerfAnalyzer, match="is a program for Linux on x86_64"):
        PerfAnalyzer(tmp_path / "cache")
