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

from exatrkx_service.measure.load import hash_labels, pick_warmup, run_load
from exatrkx_service.measure.rows import tidy
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.serving.process import sigterm_as_exit

EVENTS = {7: np.zeros((3, 3), np.float32), 9: np.zeros((0, 3), np.float32)}


def count_points(tensors, watch, request_id):
    tensors["labels"] = np.arange(len(tensors["space_points"]))
    watch.lap("labeling", "compute")


def load(step, concurrency=2, repetitions=3, check=lambda: None, closed=None, make=None):
    def make_pipeline():
        return Pipeline([step]), lambda: closed is not None and closed.append(1)

    return run_load(
        make or make_pipeline,
        EVENTS,
        first=EVENTS[9],
        concurrency=concurrency,
        repetitions=repetitions,
        seed=1,
        tag="t",
        check=check,
    )


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
    assert len(first) == 3
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


def test_the_check_after_a_failure_ends_the_load():
    def fail(tensors, watch, request_id):
        if len(tensors["space_points"]):
            raise InferenceServerException("gone")
        count_points(tensors, watch, request_id)

    def check():
        raise RuntimeError("the server ended")

    with pytest.raises(RuntimeError, match="the server ended"):
        load(fail, check=check)


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


def test_the_warm_up_spans_the_sizes():
    events = {i: np.zeros((i, 3)) for i in range(50)}
    assert list(pick_warmup(events, 3)) == [0, 24, 49]
    assert list(pick_warmup({4: np.zeros((1, 3))}, 10)) == [4]


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
        with pytest.raises(SystemExit), sigterm_as_exit():
            load(take_the_signal, concurrency=1)
        assert not too_late
    finally:
        done.set()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
