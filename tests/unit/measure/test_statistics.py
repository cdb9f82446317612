"""What a server counts by itself."""

from exatrkx_service.measure import statistics


def counts(n):
    return {"gnn": dict.fromkeys(statistics.PARTS, (n, n * 1_000_000))}


def test_requests_that_are_counted_after_their_answer_are_waited_for(monkeypatch):
    readings = iter([counts(6), counts(7), counts(8), counts(8), counts(9)])
    monkeypatch.setattr(statistics, "_read", lambda server, models: next(readings))
    assert statistics.read_counts(None, ["gnn"]) == counts(8)


def test_a_server_that_is_never_idle_is_not_waited_for_without_end(monkeypatch):
    readings = map(counts, range(1000))
    monkeypatch.setattr(statistics, "_read", lambda server, models: next(readings))
    monkeypatch.setattr(statistics, "PAUSE_S", 0)
    assert statistics.read_counts(None, ["gnn"]) == counts(statistics.N_READINGS)


def test_means_are_those_between_two_readings():
    (row,) = statistics.means_between(counts(2), counts(6), concurrency=4)
    assert row["requests"] == 4 and row["concurrency"] == 4
    assert row["queue_ms"] == 1.0
    assert statistics.means_between(counts(2), counts(2), concurrency=1) == []
