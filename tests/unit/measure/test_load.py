import os
import signal
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import RequestTimeout
from exatrkx_service.measure.load import FAILURES_IN_A_ROW, hash_labels, run_load
from exatrkx_service.measure.rows import tidy
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.signals import signals_as_exit

EVENTS = {7: np.zeros((3, 3), np.float32), 9: np.zeros((0, 3), np.float32)}


def count_points(tensors, watch, request_id):
    tensors["labels"] = np.arange(len(tensors["space_points"]))
    watch.lap("labeling", "compute")


def run(step, concurrency=2, repetitions=3, closed=None, make=None, **hooks):
    def make_pipeline():
        return Pipeline([step]), lambda: closed is not None and closed.append(1)

    return run_load(
        make or make_pipeline,
        EVENTS,
        first={9: EVENTS[9]},
        concurrency=concurrency,
        repetitions=repetitions,
        seed=1,
        tag="t",
        **hooks,
    )


def load(*arguments, **settings):
    return run(*arguments, **settings).samples


@settings(deadline=None, max_examples=20)
@given(concurrency=st.integers(1, 5), repetitions=st.integers(1, 4))
def test_every_event_is_sent_equally_often(concurrency, repetitions):
    closed = []
    samples = load(count_points, concurrency, repetitions, closed=closed)
    counts = Counter((sample.event, sample.repetition) for sample in samples)
    assert counts == {(event, r): 1 for event in EVENTS for r in range(repetitions)}
    assert len({sample.request_id for sample in samples}) == len(samples)
    assert len(closed) == concurrency
    for sample in samples:
        assert sample.labels_sha256 == hash_labels(np.arange(len(EVENTS[sample.event])))
        assert sum(lap.duration_ns for lap in sample.laps) == sample.duration_ns


def test_each_client_opens_its_connection_before_the_clock_starts():
    seen = []

    def note(tensors, watch, request_id):
        seen.append((request_id, watch.start_ns))
        count_points(tensors, watch, request_id)

    samples = load(note, concurrency=3)
    first = [start for request_id, start in seen if "first" in request_id]
    assert len(first) >= 2 * 3  # until each client is warm
    assert max(first) < min(sample.start_ns for sample in samples)
    assert not any("first" in sample.request_id for sample in samples)


def test_a_failed_request_is_a_row(sizes):
    def fail(tensors, watch, request_id):
        if len(tensors["space_points"]):
            raise InferenceServerException("Deadline Exceeded")
        count_points(tensors, watch, request_id)

    table = tidy({2: load(fail)}, {}, {}, sizes, option="S1", round_number=1)
    failed = table[table.status == "failed"]
    assert failed.event.tolist() == [7, 7, 7]
    assert set(failed.error) == {"Deadline Exceeded"} and set(failed.part) == {"total"}
    assert (table[table.status == "ok"].part == "total").sum() == 3


def test_the_check_ends_the_load_also_while_a_request_is_under_way():
    go_on = threading.Event()

    def hang(tensors, watch, request_id):
        if "first" not in request_id:
            go_on.wait(60)
        count_points(tensors, watch, request_id)

    def check():
        raise RuntimeError("the server ended")

    with pytest.raises(RuntimeError, match="the server ended"):
        load(hang, check=check)
    go_on.set()


def test_failures_in_a_row_end_the_load_and_are_rows():
    def fail(tensors, watch, request_id):
        if "first" not in request_id:
            raise InferenceServerException("refused")
        count_points(tensors, watch, request_id)

    done = run(fail, concurrency=2, repetitions=50)
    assert FAILURES_IN_A_ROW * 2 <= len(done.samples) <= FAILURES_IN_A_ROW * 2 + 1
    assert {sample.error for sample in done.samples} == {"refused"}
    assert "requests failed in a row, the last: refused" in done.ended_early


def test_failures_among_others_do_not_end_the_load():
    def fail(tensors, watch, request_id):
        if len(tensors["space_points"]):
            raise InferenceServerException("refused")
        count_points(tensors, watch, request_id)

    done = run(fail, concurrency=1, repetitions=3)
    assert len(done.samples) == 6 and done.ended_early == ""


def test_a_warm_up_that_fails_is_the_one_row_of_its_load():
    def fail(tensors, watch, request_id):
        raise InferenceServerException("too slow")

    done = run(fail, concurrency=3)
    (sample,) = done.samples
    assert sample.error == done.ended_early
    assert sample.error.startswith("warm-up of client") and sample.error.endswith("too slow")


def test_no_client_goes_on_before_the_server_has_done_what_timed_out():
    lost, drained, sent_meanwhile = threading.Event(), threading.Event(), []

    def step(tensors, watch, request_id):
        if "first" not in request_id:
            if not lost.is_set():
                lost.set()
                raise RequestTimeout("gnn: no answer")
            if not drained.is_set() and late.is_set():
                sent_meanwhile.append(request_id)
            time.sleep(0.05)
        count_points(tensors, watch, request_id)

    late = threading.Event()

    def drain():
        time.sleep(0.3)  # those that were under way have ended
        late.set()
        time.sleep(0.5)
        drained.set()

    samples = load(step, concurrency=2, repetitions=10, drain=drain)
    assert drained.is_set() and sent_meanwhile == []
    assert [sample.timed_out for sample in samples].count(True) == 1 and len(samples) == 20


def test_a_server_that_does_not_get_on_ends_the_load():
    def step(tensors, watch, request_id):
        if "first" not in request_id:
            raise RequestTimeout("gnn: no answer")
        count_points(tensors, watch, request_id)

    def drain():
        raise RuntimeError("the server hangs")

    with pytest.raises(RuntimeError, match="the server hangs"):
        load(step, drain=drain)


def test_the_clock_starts_when_all_clients_are_warm():
    seen = []

    def note(tensors, watch, request_id):
        seen.append(request_id)
        count_points(tensors, watch, request_id)

    load(note, concurrency=3, begin=lambda: seen.append("begin"))
    begin = seen.index("begin")
    assert all("first" in request_id for request_id in seen[:begin])
    assert not any("first" in request_id for request_id in seen[begin + 1 :])


def test_an_error_that_is_no_failed_request_is_raised():
    def broken(tensors, watch, request_id):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        load(broken, concurrency=4)


def test_a_client_that_cannot_start_is_an_error():
    def make():
        raise ConnectionError("no route")

    with pytest.raises(ConnectionError, match="no route"):
        load(None, make=make)


def test_a_signal_that_another_thread_takes_ends_the_load():
    done, too_late = threading.Event(), []

    def take_the_signal(tensors, watch, request_id):
        if "first" in request_id:
            # As a thread of gRPC may: the main thread has it blocked, so the kernel gives it here.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            time.sleep(0.5)  # until the main thread waits for this one
            os.kill(os.getpid(), signal.SIGTERM)
            if not done.wait(20):
                too_late.append(1)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with pytest.raises(SystemExit), signals_as_exit():
            load(take_the_signal, concurrency=1)
        assert not too_late
    finally:
        done.set()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
