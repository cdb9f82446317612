from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np

from exatrkx_service.client.remote import RemoteStep
from exatrkx_service.measure import floor
from exatrkx_service.measure.floor import FIRST, measure_floor

MS = 1_000_000


class OneAfterTheOther:
    """Clients of which each begins when the one before has nothing left to send."""

    def __init__(self):
        self.sent = []

    def ready(self, check):
        check()

    def call(self, count, calls, tag, check):
        self.sent.append(len(calls.orders[0]))
        ends = np.arange(1, len(calls.orders[0]) + 1)
        one = np.column_stack([ends - 1, ends]) * 2 * MS
        return [one + client * 10 * ends[-1] * MS for client in range(count)]


def test_clients_that_do_not_meet_have_a_latency_and_no_rate(monkeypatch):
    crew = OneAfterTheOther()
    monkeypatch.setattr(floor, "clients", lambda *arguments: nullcontext(crew))
    server = SimpleNamespace(check_alive=lambda: None)
    plan = {"clients": "processes", "concurrency": [1, 8], "block_s": 0.25}
    step = RemoteStep(None, "gnn", "gnn", ("space_points",), "edge_scores")
    sizes = {"space_points": 40, "edge_scores": 8}
    one, eight = measure_floor(server, plan, None, [step], sizes)
    assert crew.sent == [FIRST, 250] * 2  # half a second of requests of 2 ms
    assert one["p50_ms"] == eight["p50_ms"] == 2
    assert one["rate_evt_s"] == 500 and eight["rate_evt_s"] is None
