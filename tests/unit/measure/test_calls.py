import numpy as np
import pytest

from exatrkx_service.client.remote import RemoteStep
from exatrkx_service.measure import calls as module
from exatrkx_service.measure.calls import Calls, figures, null_calls, send_calls
from exatrkx_service.pipeline.tensors import NULL_SPEC

MS = 1_000_000


def one_after_the_other(latencies_ms, begin_ms=0):
    ends = begin_ms + np.cumsum(latencies_ms)
    return (np.column_stack([ends - latencies_ms, ends]) * MS).astype(np.int64)


def test_figures_of_one_client():
    found = figures([one_after_the_other([10] * 99 + [30])])
    assert found.p50_ms == 10 and found.p95_ms == pytest.approx(10)
    assert found.rate == pytest.approx(99 / (98 * 10 + 30) * 1000)


def test_the_rate_is_that_while_all_clients_are_at_work():
    # The second one begins when the first has done half, and goes on after it.
    early, late = one_after_the_other([10] * 100), one_after_the_other([10] * 100, begin_ms=500)
    assert figures([early, late]).rate == pytest.approx(200, rel=0.03)
    assert figures([early, late]).p50_ms == 10


def test_too_few_requests_have_no_rate():
    assert np.isnan(figures([one_after_the_other([10])]).rate)


def test_a_client_sends_its_own_order_and_all_of_it(monkeypatch):
    sent = []

    def step(self, tensors, watch, request_id):
        sent.append((self.model, int(tensors["payload"][0]), request_id))
        watch.lap(self.name, "request")

    monkeypatch.setattr(module, "RemoteStep", type("Step", (RemoteStep,), {"__call__": step}))
    tensors = [{"payload": np.full(3, number, np.float32)} for number in range(3)]
    calls = Calls("null", ("payload",), "answer", tensors, [[0, 1], [2, 0, 1, 2]])
    times = send_calls(1, calls, "t", None)
    assert sent == [("null", which, f"t/1/{n}") for n, which in enumerate([2, 0, 1, 2])]
    assert times.shape == (4, 2) and (times[:, 1] >= times[:, 0]).all()
    assert (times[1:, 0] >= times[:-1, 1]).all()


def test_requests_to_nothing_have_the_sizes_that_were_asked_for():
    calls = null_calls(400, 80, clients=2, count=3)
    assert calls.tensors[0]["payload"].nbytes == 400
    assert calls.tensors[0]["answer_size"].tolist() == [20]
    assert calls.orders == [[0, 0, 0]] * 2 and tuple(calls.tensors[0]) == NULL_SPEC.inputs
