"""Finders as processes: what they get and give, and how those end that fail."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from exatrkx_service.events.event import Event
from exatrkx_service.events.imported import write_imported
from exatrkx_service.finders import exchange
from exatrkx_service.finders.run import run_finder
from exatrkx_service.tracking.method import MethodError

SIZES = {3: 4, 4: 0, 7: 2}
KEY = "physics.methods.mine"


@pytest.fixture
def events(tmp_path):
    """Three events from elsewhere, one of them empty."""
    folder = tmp_path / "sample"
    folder.mkdir()
    random = np.random.default_rng(1)
    for event, n in SIZES.items():
        points = random.uniform([30, -3, -900], [900, 3, 900], (n, 3)).astype(np.float32)
        write_imported(folder, Event.without_truth(event, points), truth=False)
    return dict.fromkeys(SIZES, folder)


@pytest.fixture
def run(events, tmp_path):
    """Runs a method in an empty folder of work."""

    def run(method, timeout_s=60, threads=1):
        work = tmp_path / f"work{time.monotonic_ns()}"
        work.mkdir()
        return run_finder(KEY, method, events, work, threads=threads, timeout_s=timeout_s)

    return run


@pytest.fixture
def program(tmp_path):
    """Writes a program in Python that knows ``given`` and ``out``; gives the command."""

    def write(text: str) -> dict:
        file = tmp_path / "program.py"
        begin = (
            "import os, sys, time\nfrom pathlib import Path\ngiven, out = map(Path, sys.argv[1:])\n"
        )
        file.write_text(begin + text)
        return {"command": ["python", str(file)]}

    return write


def message(run, method, **others) -> str:
    with pytest.raises(MethodError) as caught:
        run(method, **others)
    text = str(caught.value)
    assert text.startswith(f"{KEY}.") and "\n" not in text
    return text


def test_space_points_come_as_they_are(events, tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    assert exchange.write_events(folder, events, {"a": [1, None]}) == SIZES
    found = exchange.read_events(folder)
    assert list(found) == list(SIZES)
    for event, points in found.items():
        expected = exchange.read_space_points(events[event], event)
        assert points.dtype == np.float32 and points.shape == (SIZES[event], 3)
        assert points.tobytes() == expected.tobytes()
    assert exchange.read_settings(folder) == {"a": [1, None]}
    assert sorted(path.name for path in folder.iterdir()) == [
        *("events.csv", "settings.json", "space_points.csv"),
    ]


def test_a_finder_in_python_is_run_on_the_events_alone(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import json, os\n"
        "def finder(k):\n"
        "  print('from the finder')\n"
        "  def find(points): return [[0, k]] if len(points) > k else []\n"
        "  return find\n"
    )
    method = run({"finder": f"{tmp_path}/mine.py:finder", "settings": {"k": 1}})
    assert method.tracks.to_numpy().tolist() == [[3, 0, 0], [3, 0, 1], [7, 0, 0], [7, 0, 1]]
    assert method.times.event.tolist() == list(SIZES)


def test_a_finder_gets_as_many_cores_as_threads(run, program):
    here = os.sched_getaffinity(0)
    text = (
        "n = len(os.sched_getaffinity(0))\n"
        "(out / 'tracks.csv').write_text(f'event,track,space_point\\n3,{n},0\\n')\n"
    )
    for threads in (1, min(2, len(here))):
        assert run(program(text), threads=threads).tracks.track.tolist() == [threads]
    assert os.sched_getaffinity(0) == here


def test_a_command_that_does_not_time_itself_has_no_times(run, program):
    method = run(program("(out / 'tracks.csv').write_text('event,track,space_point\\n')"))
    assert method.tracks.empty and method.times.empty
    assert (method.times.dtypes[["event", "duration_ns"]] == np.int64).all()


def test_a_command_gives_tracks_and_times(run, program):
    text = (
        "assert 'event,space_point,r,phi,z\\n' in (given / 'space_points.csv').read_text()\n"
        "(out / 'tracks.csv').write_text('space_point,event,track,more\\n1,3,9,x\\n0,7,0,y\\n')\n"
        "(out / 'times.csv').write_text('event,step,duration_ns\\n'\n"
        "  + ''.join(f'{event},{step},{event}\\n' for event in (3, 4, 7) for step in 'ab'))\n"
    )
    method = run(program(text))
    assert method.tracks.to_numpy().tolist() == [[3, 9, 1], [7, 0, 0]]
    assert method.times.groupby("step").duration_ns.sum().to_dict() == {"a": 14, "b": 14}


TRACKS = "tracks.csv: line 2, column "


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "tracks.csv: no such file; it ended with exit code 0: it said nothing"),
        ({"tracks": ""}, "tracks.csv: empty file, expected a header"),
        ({"tracks": "a,b\n"}, "tracks.csv: column event: found 0 times, expected once; found the"),
        ({"tracks": "event,track,space_point\n3,0,4\n"}, TRACKS + "space_point: 4, expected a sp"),
        ({"tracks": "event,track,space_point\n3,0,-1\n"}, TRACKS + "space_point: -1, expected a s"),
        ({"tracks": "event,track,space_point\n4,0,0\n"}, TRACKS + "space_point: 0, expected a sp"),
        ({"tracks": "event,track,space_point\n5,0,0\n"}, TRACKS + "event: 5, expected the number"),
        ({"tracks": "event,track,space_point\n3,-1,0\n"}, TRACKS + "track: -1, expected a number"),
        ({"tracks": "event,track,space_point\n3,0,nan\n"}, TRACKS + "space_point: 'nan', expecte"),
        ({"tracks": "event,track,space_point\n3,0.5,1\n"}, TRACKS + "track: '0.5', expected an in"),
        ({"tracks": "event,track,space_point\n3,0\n"}, "tracks.csv: line 2: 2 values, expected 3"),
        (
            {"tracks": "event,track,space_point\n3,0,1\n3,0,1\n"},
            "tracks.csv: line 3, column event,track,space_point: 3, 0, 1, expected each space po",
        ),
        ({"tracks": "event,track,space_point\n3,0,1"}, "tracks.csv: line 2: the file ends without"),
        ({"times": "event,step,duration_ns\n3,a,5\n"}, "times.csv: no time of event 4, expected t"),
        (
            {"times": "event,step,duration_ns\n3,a,0\n"},
            "duration_ns: 0, expected a time [ns] above",
        ),
        ({"times": "event,step,duration_ns\n9,a,1\n"}, "times.csv: line 2, column event: 9, expec"),
        ({"times": "event,step,duration_ns\n3,,1\n"}, "column step: '', expected a word"),
        (
            {"times": "event,step,duration_ns\n3,a,1\n3,a,1\n"},
            "times.csv: line 3, column event,step: 3, 'a', expected each step of an event once",
        ),
        (
            {"times": "event,step,duration_ns\n3,a,1\n4,a,1\n7,a,9000000000000\n"},
            "times.csv: the durations add up to 9e+03 s, but all took ",
        ),
    ],
)
def test_what_is_no_table_of_tracks_or_times_is_told(run, program, files, expected):
    if files:
        files = {"tracks": "event,track,space_point\n"} | files
    text = f"for name, text in {files!r}.items(): (out / (name + '.csv')).write_text(text)"
    found = message(run, program(text))
    assert f".command: python {program(text)['command'][1]}: " in found and expected in found
    assert "/tracks/" not in found


def test_a_table_that_is_a_folder_is_told(run, program):
    assert "tracks.csv: can't be read (Is a directory)" in message(
        run, program("(out / 'tracks.csv').mkdir()")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sys.exit(3)", ": ended with exit code 3: it said nothing"),
        ("print('one'); sys.exit('the model\\n  is missing ')", "ended with exit code 1: is miss"),
        ("1 / 0", ": ended with exit code 1: ZeroDivisionError: division by zero"),
        ("os.kill(os.getpid(), 11)", ": ended by SIGSEGV; it said nothing"),
        ("sys.exit('\\033[31mred')", ": ended with exit code 1: \ufffd[31mred"),
        ("print('x' * 10**6); sys.exit(1)", f": ended with exit code 1: {500 * 'x'}"),
    ],
)
def test_a_command_that_fails_is_told_with_what_it_said_last(run, program, text, expected):
    assert expected in message(run, program(text))


def test_programs_that_cannot_be_run_are_told(run, tmp_path):
    text = message(run, {"command": ["no-such-finder", "-v"]})
    assert (
        text
        == f"{KEY}.command: no-such-finder -v: no-such-finder: no such program; expected "
        + ("one that can be run")
    )
    file = tmp_path / "program"
    file.write_text("x")
    assert "program: not executable; expected one that" in message(run, {"command": [str(file)]})
    file.chmod(0o700)
    file.write_bytes(b"\x7fELF")
    assert "Exec format error" in message(run, {"command": [str(file)]})


def test_errors_of_python_are_told_and_their_traceback_is_in_the_log(run, tmp_path, capfd):
    (tmp_path / "mine.py").write_text("def finder():\n  return lambda points: points.no\n")
    text = message(run, {"finder": f"{tmp_path}/mine.py:finder"})
    assert text == (
        f"{KEY}.finder: {tmp_path}/mine.py:finder: event 3 with 4 space points: AttributeError: "
        "'numpy.ndarray' object has no attribute 'no' (mine.py, line 2)"
    )
    sys.stdout.flush()
    assert "Traceback" in capfd.readouterr().out


def test_a_table_that_is_a_pipe_is_told(run, program):
    found = message(run, program("os.mkfifo(out / 'tracks.csv')"))
    assert "tracks.csv: a pipe or a device, expected a CSV file" in found


@pytest.mark.parametrize("end", ["sys.exit(1)", "time.sleep(600)", "os.kill(os.getpid(), 9)"])
def test_shared_memory_and_temporary_files_of_a_finder_are_not_left(run, program, tmp_path, end):
    note = f"open({str(tmp_path / 'made')!r}, 'w').write"
    text = (
        "import tempfile\nfrom multiprocessing.shared_memory import SharedMemory\n"
        f"memory = SharedMemory(create=True, size=64)\n"
        f"{note}(f'/dev/shm/{{memory.name}}\\n{{tempfile.mkdtemp()}}')\n"
    )
    message(run, program(text + end), timeout_s=2)
    memory, folder = map(Path, (tmp_path / "made").read_text().split())
    assert not memory.exists()
    assert folder.is_relative_to(tmp_path)  # the folder of work, which the job removes


@pytest.mark.parametrize("also", ["", "os.fork(); os.setsid()\n"])
def test_a_finder_that_hangs_is_ended_with_all_it_started(run, program, tmp_path, also):
    method = program(f"{also}open({str(tmp_path / 'pid')!r}, 'a').write(f'{{os.getpid()}} ')\n")
    with Path(method["command"][1]).open("a") as file:
        file.write("time.sleep(600)\n")
    found = message(run, method, timeout_s=2)
    assert ": not done after 2 s; expected less, physics.timeout_s" in found
    pids = (tmp_path / "pid").read_text().split()
    assert pids and not any(psutil.pid_exists(int(pid)) for pid in pids)
