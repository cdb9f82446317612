"""Traces live until the server has let go of them; in a real server, with its memory watched."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from real_server import MARKS, labeling_step, tensors

from exatrkx_service import compiled
from exatrkx_service.compiled import NotCompiled, compiler
from exatrkx_service.measure.trace import read_trace
from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.serving import embedded
from exatrkx_service.serving.launch import launch

pytestmark = MARKS
CLIENTS, REQUESTS = 4, 300


@pytest.fixture
def probe(tmp_path):
    """A library that counts the traces that are freed while the server holds their lock."""
    try:
        command = compiler()
    except NotCompiled as error:
        pytest.skip(str(error))
    source, library = Path(__file__).with_name("trace_probe.cpp"), tmp_path / "probe.so"
    arguments = ["-std=c++17", "-O1", "-fPIC", "-shared", str(source), "-o", str(library), "-ldl"]
    subprocess.run([*command, *arguments], check=True)
    return library


@pytest.mark.parametrize("kept", [False, True])
def test_no_trace_is_freed_while_the_server_holds_its_lock(
    repository, settings, config, tmp_path, monkeypatch, probe, kept
):
    # The probe is asked first, so it sees what ours does for the server.
    keeper = embedded.trace_keeper() if kept else ""
    monkeypatch.setattr(embedded, "trace_keeper", lambda: f"{probe} {keeper}".strip())
    counts = tmp_path / "counts"
    monkeypatch.setattr(
        embedded, "cleaned", lambda environ: {**environ, "EXATRKX_TRACE_PROBE": str(counts)}
    )

    def ask(number):
        client, step = labeling_step(server)
        for i in range(REQUESTS):
            step(tensors(4, [[0, 1], [1, 3]]), Stopwatch(), f"{number}/{i}")
        client.close()

    with (
        launch(repository, ["labeling"], tmp_path / "w", settings, config["pipeline"]) as server,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        list(pool.map(ask, range(CLIENTS)))
    released, gone = map(int, counts.read_text().split())
    assert released == len(read_trace(server.trace)) == CLIENTS * REQUESTS
    # Without it: the fault of this Triton. A Triton that has it no more needs none of this.
    assert gone == 0 if kept else gone > 0


def test_what_keeps_traces_is_loaded_beside_what_the_user_loads(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/lib/other.so")
    monkeypatch.setattr(embedded, "make", lambda library, say: Path("/x") / library.name)
    assert embedded.environment({})["LD_PRELOAD"] == "/x/libexatrkx_traces.so /lib/other.so"
    monkeypatch.delenv("LD_PRELOAD")
    assert embedded.environment({})["LD_PRELOAD"] == "/x/libexatrkx_traces.so"


def test_without_a_compiler_the_server_runs_and_it_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiled, "_places", lambda: [tmp_path])
    assert "LD_PRELOAD" not in embedded.environment({})
    said = []
    assert embedded.trace_keeper(said.append) == ""
    assert said[0].startswith("the server may die while it traces: there is no C++ compiler")
