"""The comparison of the two drivers, without a server."""

import numpy as np
import pytest

from exatrkx_service.measure import agreement
from exatrkx_service.measure.agreement import (
    AGREEMENT_COLUMNS,
    MODELS,
    OURS,
    THEIRS,
    Comparison,
    measure_agreement,
    row_of,
)
from exatrkx_service.measure.calls import Figures
from exatrkx_service.measure.perf_analyzer import NoPerfAnalyzer, PerfAnalyzerError
from exatrkx_service.options import NULL
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.server import Server

SIZES = {7: 30, 8: 20, 9: 10}
EVENTS = {event: np.zeros((n, 3), np.float32) for event, n in SIZES.items()}
TENSORS = {
    event: {
        "space_points": points,
        "embedding": np.zeros((len(points), 8), np.float32),
        "filtered_edges": np.zeros((2, 5), np.int32),
        "edge_scores": np.zeros(5, np.float32),
        "labels": np.zeros(len(points), np.int64),
    }
    for event, points in EVENTS.items()
}
PLAN = {"block_s": 1, "request_timeout_s": 5, "concurrency": [1, 2], "min_blocks": 3}


def times_of(calls):
    """Requests that take as many ms as their first tensor has rows or numbers."""
    found = []
    for order in calls.orders:
        first = [next(iter(calls.tensors[which].values())) for which in order]
        ends = np.cumsum([len(array) for array in first])
        found.append(np.column_stack([np.append(0, ends[:-1]), ends]) * 1_000_000)
    return found


class Crew:
    def __init__(self):
        self.calls = []

    def call(self, count, calls, tag, check):
        assert count == len(calls.orders)
        self.calls.append(calls)
        return times_of(calls)


class Analyzer:
    def __init__(self, crew):
        self.crew = crew
        self.sent = []

    def times(self, url, protocol, model, requests, clients, timeout_s):
        self.sent.append((model, requests))
        per_client = [requests[number::clients] for number in range(clients)]
        lengths = [[len(next(iter(r.values()))) for r in own] for own in per_client]
        ends = [np.cumsum(own) for own in lengths]
        return [np.column_stack([np.append(0, e[:-1]), e]) * 1_000_000 for e in ends]


def comparison(crew, analyzer):
    return Comparison(
        Server("here:1", "here:2", "1.0"), "grpc", crew, analyzer, PLAN, EVENTS, TENSORS
    )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("concurrency", [1, 2])
def test_both_drivers_send_the_same_events_in_the_same_order(model, concurrency):
    crew = Crew()
    analyzer = Analyzer(crew)
    pair = next(comparison(crew, analyzer).pairs(model, concurrency, seed=1))
    assert pair[OURS] == pair[THEIRS]  # for these take as long as their events are large
    ours, (name, theirs) = crew.calls[-1], analyzer.sent[-1]
    assert name == ours.model == model and len(ours.orders) == concurrency
    for client, order in enumerate(ours.orders):
        own = theirs[client::concurrency]
        for request, which in zip(own, order, strict=True):
            assert tuple(request) == ours.inputs
            assert all(request[key] is ours.tensors[which][key] for key in request)


def test_what_goes_to_the_null_model_is_as_large_as_an_event():
    request = comparison(Crew(), None).requests(NULL)[7]
    assert request["payload"].nbytes == EVENTS[7].nbytes
    assert request["answer_size"].tolist() == [2 * SIZES[7]]  # int64 in numbers of float32


def test_a_window_is_not_larger_than_what_perf_analyzer_can_write(monkeypatch):
    crew = Crew()
    monkeypatch.setattr(agreement, "MOST_BYTES", 4 * 3 * EVENTS[7].nbytes)
    next(comparison(crew, Analyzer(crew)).pairs("embedding", 2, seed=1))
    sent = [crew.calls[-1].tensors[which] for order in crew.calls[-1].orders for which in order]
    assert 2 <= len(sent) <= 6
    monkeypatch.undo()
    next(comparison(crew, Analyzer(crew)).pairs("embedding", 2, seed=1))
    assert len(crew.calls[-1].orders[0]) > 50


def test_a_row_has_the_ratios_of_the_pairs():
    pairs = [
        {OURS: Figures(11 * k, 22 * k, 90 / k), THEIRS: Figures(10 * k, 20 * k, 100 / k)}
        for k in (1, 2, 3, 4, 5)  # the machine gets slower; both see it
    ]
    row = row_of("gnn", 4, pairs)
    assert tuple(row) == AGREEMENT_COLUMNS
    assert row["ours_p50_ms"] == pytest.approx(33) and row["theirs_p50_ms"] == pytest.approx(30)
    for name, ratio in (("p50", 1.1), ("p95", 1.1), ("rate", 0.9)):
        edges = [row[f"{name}_ratio{edge}"] for edge in ("", "_low", "_high")]
        assert edges == pytest.approx([ratio] * 3)
    assert (row["n_windows"], row["reason"]) == (5, "")


def test_the_interval_of_a_ratio_is_around_it():
    rng = np.random.default_rng(1)
    noise = np.exp(0.2 * rng.normal(size=12))
    pairs = [{OURS: Figures(n, n, n), THEIRS: Figures(1, 1, 1)} for n in noise]
    row = row_of("gnn", 4, pairs)
    assert 0 < row["p50_ratio_low"] < row["p50_ratio"] < row["p50_ratio_high"]


def test_windows_before_a_failure_count():
    class Fails(Analyzer):
        def times(self, *arguments):
            if len(self.sent) == 2:
                raise PerfAnalyzerError("perf_analyzer: gave up")
            return super().times(*arguments)

    crew, said, pending = Crew(), [], [1, 2]
    first, second = agreement._measure(
        comparison(crew, Fails(crew)), "gnn", pending, 3, said.append
    )
    assert (first["n_windows"], first["reason"]) == (2, "perf_analyzer: gave up")
    assert first["p50_ratio"] == pytest.approx(1) and "gave up" in said[0]
    assert (second["concurrency"], second["n_windows"], pending) == (2, 0, [])


def test_a_server_that_dies_costs_one_row():
    class Dies(Crew):
        def call(self, *arguments):
            if len(self.calls) == 3:
                raise ServerError("the server ended with code 1; the end of its log x:\n ...")
            return super().call(*arguments)

    crew, said, pending = Dies(), [], [1, 2, 4]
    (row,) = agreement._measure(comparison(crew, Analyzer(crew)), "gnn", pending, 3, said.append)
    assert (row["n_windows"], pending) == (2, [2, 4])
    assert row["reason"] == "the server ended with code 1" and row["reason"] in said[0]


@pytest.mark.parametrize("launcher", ["embedded", "external"])
def test_where_it_cannot_run_the_rows_say_why(launcher, tmp_path, monkeypatch):
    def refuse(cache):
        raise NoPerfAnalyzer("no libb64")

    monkeypatch.setattr(agreement, "PerfAnalyzer", refuse)
    config = {"measure": PLAN, "server": {"launcher": launcher}, "pipeline": {}}
    said = []
    arguments = (tmp_path, config, tmp_path, tmp_path, tmp_path / "log")
    table = measure_agreement(EVENTS, *arguments, said.append)
    assert tuple(table) == AGREEMENT_COLUMNS
    assert len(table) == len(MODELS) * len(PLAN["concurrency"])
    reason = "no libb64" if launcher == "embedded" else "external"
    assert table.reason.str.contains(reason).all() and said[0].startswith("skipped: ")
    assert table.p50_ratio.isna().all() and (table.n_windows == 0).all()
