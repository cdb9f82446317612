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
from exatrkx_service.measure.clients import client_threads
from exatrkx_service.measure.load import CONTROL, OPTION, Item, Share, hash_labels, result
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.signals import signals_as_exit

EVENTS = {7: np.zeros((3, 3), np.float32), 9: np.zeros((0, 3), np.float32)}


def count_points(tensors, watch, request_id):
    tensors["labels"] = np.arange(len(tensors["space_points"]))
    watch.lap("labeling", "compute")


def items(repetitions, arms=(OPTION,)):
    return [Item(arm, event, r) for r in range(repetitions) for event in EVENTS for arm in arms]


def turn(step, concurrency=2, repetitions=3, arms=(OPTION,), check=lambda: None, make=None):
    def pipelines():
        return {OPTION: Pipeline([step]), CONTROL: Pipeline([count_points])}, None

    with client_threads(make or pipelines, concurrency, EVENTS) as crew:
        crew.ready(check)
        return result(crew.turn(concurrency, items(repetitions, arms), "t", check))


@settings(deadline=None, max_examples=20)
@given(concurrency=st.integers(1, 5), repetitions=st.integers(1, 4))
def test_every_item_is_sent_once(concurrency, repetitions):
    done = turn(count_points, concurrency, repetitions, (OPTION, CONTROL))
    samples = done["samples"]
    sent = Counter((sample.arm, sample.event, sample.repetition) for sample in samples)
    assert sent == {tuple(item): 1 for item in items(repetitions, (OPTION, CONTROL))}
    assert len({sample.request_id for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.labels_sha256 == hash_labels(np.arange(len(EVENTS[sample.event])))
        assert 0 < sum(lap.duration_ns for lap in sample.laps) < sample.duration_ns
    assert done["n_in_window"] >= len(samples)


def test_the_last_event_has_as_many_beside_it_as_the_first():
    busy, seen = Counter(), []
    lock = threading.Lock()

    def step(tensors, watch, request_id):
        with lock:
            busy["now"] += 1
        time.sleep(0.1 if request_id.endswith("/10") else 0.02)  # the last one that counts
        with lock:
            seen.append((request_id, busy["now"]))
            busy["now"] -= 1
        count_points(tensors, watch, request_id)

    done = turn(step, concurrency=3, repetitions=4)
    assert len(done["samples"]) == 8 and done["n_done"] > 8 + 3 + 2
    (last,) = (busy for request_id, busy in seen if request_id.endswith("/10"))
    assert last >= 2


def test_the_first_event_that_counts_finds_the_others_at_work():
    lock, busy, seen = threading.Lock(), set(), {}

    def step(tensors, watch, request_id):
        with lock:
            busy.add(request_id)
            seen[request_id] = len(busy)
        time.sleep(0.05)
        count_points(tensors, watch, request_id)
        with lock:
            busy.remove(request_id)

    done = turn(step, concurrency=4, repetitions=4)
    first = done["samples"][0]
    assert seen[first.request_id] >= 3
    assert done["n_done"] >= len(done["samples"]) + 4
    spent_s = sum(sample.duration_ns for sample in done["samples"]) / 1e9
    assert done["n_in_window"] / done["window_s"] == pytest.approx(4 * 8 / spent_s, rel=0.3)


def test_a_turn_that_ended_before_anything_counted_has_no_rate():
    done = result([Share(fillers=[(10, 20)]), Share()])
    assert (done["samples"], done["n_done"]) == ([], 1)
    assert done["n_in_window"] == done["window_s"] == 0


def test_one_client_sends_no_fillers():
    done = turn(count_points, concurrency=1)
    assert done["n_in_window"] == done["n_done"] == len(done["samples"]) == 6


def test_a_request_that_fails_is_a_sample():
    def fail(tensors, watch, request_id):
        if len(tensors["space_points"]):
            raise InferenceServerException("refused")
        count_points(tensors, watch, request_id)

    samples = turn(fail, concurrency=1)["samples"]
    assert [s.event for s in samples if s.error] == [7, 7, 7]
    assert {s.error for s in samples if s.error} == {"refused"}
    assert not any(s.labels_sha256 or s.laps for s in samples if s.error)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (lambda request_id: request_id.endswith(("/f0", "/f1")), 2),
        (lambda request_id: not request_id.endswith(("/f0", "/f1")), 1),
    ],
    ids=["before", "after"],
)
def test_a_filler_that_fails_is_a_sample_too(which, expected):
    def step(tensors, watch, request_id):
        if "/f" in request_id and which(request_id):
            raise InferenceServerException("refused")
        time.sleep(0.3 if request_id.endswith("/2") else 0)  # the first one that counts
        count_points(tensors, watch, request_id)

    samples = turn(step, concurrency=2, repetitions=1)["samples"]
    fillers = [sample for sample in samples if sample.repetition < 0]
    assert {sample.error for sample in fillers} == {"refused"}
    # A client whose filler fails after those that count sends no more.
    assert len({sample.repetition for sample in fillers}) == len(fillers) == expected


def test_after_a_time_out_no_client_sends_any_more():
    def step(tensors, watch, request_id):
        raise RequestTimeout("gnn: no answer")

    samples = turn(step, concurrency=2, repetitions=50)["samples"]
    assert 1 <= len(samples) <= 2 and all(sample.timed_out for sample in samples)


def test_the_check_ends_the_turn_also_while_a_request_is_under_way():
    go_on, started = threading.Event(), threading.Event()

    def hang(tensors, watch, request_id):
        started.set()
        go_on.wait(60)
        count_points(tensors, watch, request_id)

    def check():
        if started.is_set():
            raise RuntimeError("the server ended")

    with pytest.raises(RuntimeError, match="the server ended"):
        turn(hang, check=check)
    go_on.set()


def test_an_error_that_is_no_failed_request_is_raised():
    def broken(tensors, watch, request_id):
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        turn(broken, concurrency=4)


def test_a_client_that_cannot_start_is_an_error():
    def make():
        raise ConnectionError("no route")

    with pytest.raises(ConnectionError, match="no route"):
        turn(None, make=make)


def test_a_signal_that_another_thread_takes_ends_the_turn():
    done, too_late = threading.Event(), []

    def take_the_signal(tensors, watch, request_id):
        # As a thread of gRPC may: the main thread has it blocked, so the kernel gives it here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        time.sleep(0.5)  # until the main thread waits for this one
        os.kill(os.getpid(), signal.SIGTERM)
        if not done.wait(20):
            too_late.append(1)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with pytest.raises(SystemExit), signals_as_exit():
            turn(take_the_signal, concurrency=1)
        assert not too_late
    finally:
        done.set()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
