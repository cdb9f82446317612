"""What a server counts by itself."""

from exatrkx_service.measure import statistics


def counts(n):
    parts = dict.fromkeys((*statistics.PARTS, "success", "fail"), (n, n * 1_000_000))
    parts[statistics.EXECUTIONS] = (n // 2, 0)
    return {"gnn": parts | {"cache_hit": (0, 0), "fail": (0, 0)}}


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
    assert row["executions"] == 2
    assert row["queue_ms"] == 1.0 and row["cache_hits"] == row["failed"] == 0
    assert "cache_hit_ms" not in row
    assert statistics.means_between(counts(2), counts(2), concurrency=1) == []


def test_an_answer_from_the_cache_is_not_counted_as_computed():
    after = counts(6)
    # Of four requests three came from the cache: one computed, in 1.75 ms.
    after["gnn"] |= dict.fromkeys(statistics.PARTS[1:4], (3, 2000000 + 1750000))
    after["gnn"]["cache_hit"] = (3, 30_000)
    (row,) = statistics.means_between(counts(2), after, concurrency=1)
    assert (row["requests"], row["cache_hits"]) == (4, 3)
    assert row["compute_infer_ms"] == 1.75
    assert row["cache_hit_ms"] == 0.01
