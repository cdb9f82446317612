"""The open loop, with pipelines that are none."""

import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from exatrkx_service.measure import host
from exatrkx_service.measure.arrivals import OVER, UNDECIDED, UNDER
from exatrkx_service.measure.clients import client_threads
from exatrkx_service.measure.load import OPTION, Item, hash_labels
from exatrkx_service.measure.open_loop import Schedule
from exatrkx_service.measure.trial import Look, run_trial
from exatrkx_service.pipeline.pipeline import Pipeline

EVENTS = {7: np.zeros((3, 3), np.float32), 9: np.zeros((0, 3), np.float32)}
MS = 1_000_000
LOAD = {"limit_ms": 250, "quantile": 0.99, "seconds": 3, "max_seconds": 10}


def count_points(tensors, watch, request_id):
    tensors["labels"] = np.arange(len(tensors["space_points"]))
    watch.lap("labeling", "compute")


def nothing():
    pass


def crew_of(step, count):
    return client_threads(lambda: ({OPTION: Pipeline([step])}, None), count, EVENTS)


def send(step, offsets_ms, count=2, limit_ms=250, check=nothing):
    """The samples of a schedule, in its order; and when it began [ns]."""
    items = [Item(OPTION, event, 0) for event in (7, 9) * len(offsets_ms)][: len(offsets_ms)]
    schedule = Schedule(items, np.array(offsets_ms, np.int64) * MS, limit_ms * MS)
    with crew_of(step, count) as crew:
        crew.ready(nothing)
        hook = check(crew.counters) if check is not nothing else nothing
        shares = crew.open_turn(schedule, "t", hook)
        began_ns = crew.counters.began_ns()
    samples = [sample for share in shares for sample in share.samples]
    return sorted(samples, key=lambda sample: sample.scheduled_ns), began_ns


def test_every_request_is_sent_once_and_not_before_it_is_due():
    offsets_ms = [0, 5, 6, 20, 80]
    samples, began_ns = send(count_points, offsets_ms)
    assert [(s.scheduled_ns - began_ns) // MS for s in samples] == offsets_ms
    assert [s.event for s in samples] == [7, 9, 7, 9, 7]
    for sample in samples:
        assert sample.start_ns >= sample.scheduled_ns
        assert sample.latency_ns == sample.end_ns - sample.scheduled_ns >= sample.duration_ns
        assert sample.labels_sha256 == hash_labels(np.arange(len(EVENTS[sample.event])))
    assert len({s.request_id for s in samples}) == len(samples)


def test_the_wait_for_a_client_counts():
    def slow(tensors, watch, request_id):
        time.sleep(0.05)
        count_points(tensors, watch, request_id)

    samples, _ = send(slow, [0, 1, 2, 3], count=1)
    for place, sample in enumerate(samples):
        assert sample.latency_ns >= (place + 1) * 50 * MS - 3 * MS
        assert sample.start_ns - sample.scheduled_ns >= place * 50 * MS - 3 * MS


def test_what_was_due_when_it_was_ended_is_still_sent():
    halted = []

    def check(counters):
        def hook():
            if not halted and counters.finished():
                halted.append(time.monotonic_ns())
                counters.halt(after_ns=halted[0])

        return hook

    def slow(tensors, watch, request_id):
        time.sleep(0.4)
        count_points(tensors, watch, request_id)

    offsets_ms = [0, 10, 20, 30, 60_000]
    samples, _ = send(slow, offsets_ms, count=1, check=check)
    assert len(samples) == 4 and not any(sample.error for sample in samples)
    assert max(sample.start_ns for sample in samples) > halted[0]


def test_a_request_that_fails_ends_it_at_once():
    def fail(tensors, watch, request_id):
        raise InferenceServerException("refused")

    samples, _ = send(fail, [0, 0, 0, 0, 60_000], count=1)
    assert [sample.error for sample in samples] == ["refused"]


def test_an_error_that_is_no_failed_request_is_raised():
    def broken(tensors, watch, request_id):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        send(broken, [0, 0, 60_000])


def test_a_trial_that_holds_and_one_with_a_failure():
    load = LOAD | {"quantile": 0.9, "seconds": 0.1, "max_seconds": 2, "limit_ms": 2000}
    with crew_of(count_points, 2) as crew:
        crew.ready(nothing)
        trial = run_trial(crew, EVENTS, 400, load, 1, "t")
    row = trial.row()
    assert trial.verdict == row["verdict"] == UNDER and row["n_over"] == 0
    assert 100 <= row["n_queries"] == len(trial.samples) < 800  # it was ended when it was known
    assert row["offered_evt_s"] == pytest.approx(400, rel=0.3)

    def fail(tensors, watch, request_id):
        if request_id.endswith("/20"):
            raise InferenceServerException("refused")
        count_points(tensors, watch, request_id)

    with crew_of(fail, 2) as crew:
        crew.ready(nothing)
        trial = run_trial(crew, EVENTS, 400, load, 1, "t")
    assert trial.problem.startswith("1 of ") and trial.problem.endswith("the last: refused")
    assert trial.verdict == UNDECIDED


def test_a_look_counts_requests_that_wait_as_over_the_limit():
    counters = SimpleNamespace(
        over=lambda: 1, finished=lambda: 10, began_ns=lambda: 1000 * MS, halted=lambda: False
    )
    schedule = Schedule([], np.arange(100) * 10 * MS, 50 * MS)
    look = Look(counters, schedule, 100, 0.99, nothing)
    assert look.known(1000 * MS) == (10, 1)
    # After 350 ms 30 were due more than 50 ms ago; 9 of them at most were in time.
    assert look.known(1350 * MS) == (30, 21)


class Stall:
    """Lets something stand still for 500 ms, once, after a number of requests."""

    def __init__(self, counters, stop, go):
        self.counters, self.stop, self.go = counters, stop, go
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while self.counters.finished() < 100:
            time.sleep(0.001)
        self.stop()
        time.sleep(0.5)
        self.go()

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *error):
        self.thread.join()


def stalled(crew, stop, go, events):
    """Over the limit of 250 ms: requests of a closed loop of 200, and the trial of an open one."""
    crew.ready(nothing)
    crew.counters.reset()
    with Stall(crew.counters, stop, go):
        shares = crew.turn(1, [Item(OPTION, 7, number) for number in range(200)], "c", nothing)
    latencies = [sample.duration_ns for share in shares for sample in share.samples]
    crew.counters.reset()
    with Stall(crew.counters, stop, go):
        trial = run_trial(crew, events, 100, LOAD, 1, "o")
    return latencies, trial


def assert_only_the_open_loop_sees_it(latencies, trial):
    assert len(latencies) == 200
    assert sum(latency > 250 * MS for latency in latencies) == 1  # of 200: p99 does not see it
    assert np.quantile(latencies, 0.99, method="higher") < 250 * MS
    assert trial.verdict == OVER and trial.n_over >= 15  # 25 were due in the first 250 ms
    assert trial.row()["p99_ms"] > 250


def test_a_closed_loop_misses_a_stall_that_an_open_loop_sees():
    goes_on = threading.Event()
    goes_on.set()

    def step(tensors, watch, request_id):
        goes_on.wait()
        time.sleep(0.001)
        count_points(tensors, watch, request_id)

    with crew_of(step, 4) as crew:
        found = stalled(crew, goes_on.clear, goes_on.set, EVENTS)
    assert_only_the_open_loop_sees_it(*found)


def test_a_stall_of_a_real_server(root, config, tmp_path):
    from exatrkx_service.client.remote import Client, RemoteStep
    from exatrkx_service.identity import with_networks
    from exatrkx_service.pipeline.tensors import SPECS
    from exatrkx_service.serving.launch import launch

    config["pipeline"]["weights"] = str(root / config["pipeline"]["weights"])
    pipeline = with_networks(config["pipeline"])
    repository = root / "model_repo"
    with launch(repository, ["labeling"], tmp_path / "w", config["server"], pipeline) as server:

        def graph(tensors, watch, request_id):
            tensors["filtered_edges"] = np.array([[0], [1]], np.int32)
            tensors["edge_scores"] = np.ones(1, np.float32)

        def make():
            client = Client(server.grpc_url, "grpc", 20)
            step = RemoteStep(client, "labeling", "labeling", SPECS["labeling"].inputs, "labels")
            return {OPTION: Pipeline([graph, step])}, client

        events = {7: EVENTS[7]}
        triton = next(p for p in host.family(server.process.pid) if p.name() == "tritonserver")
        with client_threads(make, 4, events) as crew:
            stop, go = (
                lambda number=number: triton.send_signal(number)
                for number in (signal.SIGSTOP, signal.SIGCONT)
            )
            found = stalled(crew, stop, go, events)
    assert_only_the_open_loop_sees_it(*found)
