"""The search for the capacity, on queues whose capacity is known."""

import math
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest

from exatrkx_service.measure.arrivals import OVER, UNDECIDED, UNDER, arrival_times
from exatrkx_service.measure.capacity import HIGHEST_EVT_S, result, search
from exatrkx_service.measure.load import OPTION, Sample
from exatrkx_service.measure.trial import RATE_COLUMNS, Trial

LOAD = {"limit_ms": 100.0, "quantile": 0.99, "max_seconds": 60, "clients": 16}
MEAN_S = 0.01


@cache
def queue(rate_evt_s, n=10_000, mean_s=MEAN_S, problem="", disturbed="", at_client=False):
    """The trial of a server that does one request after the other: the queue M/M/1.

    Requests wait in the server, or for the one client that there is.
    """
    due_s = arrival_times(rate_evt_s, n, seed=1) / 1e9
    served_s = np.random.default_rng(2).exponential(mean_s, n)
    samples, free_s = [], 0.0
    for number in range(n):
        start_s = max(due_s[number], free_s)
        free_s = start_s + served_s[number]
        sample = Sample(OPTION, 0, 0, 0, str(number), int(due_s[number] * 1e9))
        sent_s = start_s if at_client else due_s[number]
        sample.start_ns, sample.duration_ns = int(sent_s * 1e9), int((free_s - sent_s) * 1e9)
        samples.append(sample)
    return Trial(rate_evt_s, 100.0, 0.99, samples, disturbed, problem)


@pytest.mark.parametrize("start", [2, 300])
def test_the_capacity_of_a_queue_is_found_from_wherever_it_begins(start):
    # Its latency is exponential with the rate 1/mean − λ; W. Feller, or any book on queues.
    exact = 1 / MEAN_S - math.log(100) / 0.1
    # Requests in a queue depend on each other, so it takes more of them than the rule assumes.
    found = search(partial(queue, n=40_000), start, 1, 0.05)
    low, high = found.low.rate_evt_s, found.high.rate_evt_s
    assert 0.9 * exact < low < 1.02 * exact and 0.98 * exact < high < 1.1 * exact
    assert low < high < 1.2 * low
    assert found.low.verdict == UNDER and found.high.verdict == OVER
    rates = [trial.rate_evt_s for trial in found.trials]
    assert len(rates) == len(set(rates)) < 20


def test_the_row_of_a_capacity():
    found = search(queue, 30, 1, 0.05)
    row = result("S3", found, LOAD)
    assert row["option"] == "S3" and row["capacity_evt_s"] == row["low_evt_s"]
    assert row["high_evt_s"] == found.high.rate_evt_s
    assert found.high.verdict == OVER
    assert row["certified"] and row["reason"] == ""
    assert row["n_queries"] == 10_000 and 0 < row["n_over"] < 100
    assert row["p50_ms"] < row["p99_ms"] <= 100
    assert {"option", *found.low.row()} == {*RATE_COLUMNS}


def test_few_requests_bracket_the_capacity_widely():
    """So few that the rule can't tell near the capacity: both ends are certain all the same."""
    found = search(lambda rate: queue(rate, n=1500), 30, 1, 0.02)
    assert UNDECIDED in {trial.verdict for trial in found.trials}
    row = result("S3", found, LOAD)
    assert row["certified"] and row["high_evt_s"] > 1.05 * row["low_evt_s"]


def test_a_failure_leaves_no_capacity():
    def run(rate):
        return queue(rate, 1000, problem="1 of 9 requests failed, the last: no" * (rate > 40))

    row = result("S3", search(run, 30, 1, 0.05), LOAD)
    assert row["reason"] == "at 60/s: 1 of 9 requests failed, the last: no"
    assert math.isnan(row["capacity_evt_s"]) and math.isnan(row["high_evt_s"])
    assert not row["certified"] and math.isnan(row["p50_ms"])


def test_events_that_take_longer_than_the_limit_have_no_capacity():
    found = search(lambda rate: queue(rate, 1000, mean_s=0.5), 1, 8, 0.05)
    row = result("S3", found, LOAD)
    assert [trial.rate_evt_s for trial in found.trials] == [8]
    assert math.isnan(row["capacity_evt_s"]) and row["high_evt_s"] == 8
    assert row["reason"].startswith("the limit is exceeded at 8/s (")
    few = result("S3", search(lambda rate: queue(rate, 100), 1, 8, 0.05), LOAD)
    assert few["reason"].startswith("the limit is not certain to hold at 8/s (0 of 100 requests")


def test_a_server_that_takes_everything_ends_the_search():
    found = search(lambda rate: queue(rate, 500, mean_s=1e-9), 30, 1, 0.05)
    assert found.high is None and found.low.rate_evt_s > HIGHEST_EVT_S / 2
    assert "at any rate up to 100000/s" in result("S3", found, LOAD)["reason"]


def test_a_disturbed_machine_certifies_no_end_of_the_capacity():
    found = search(lambda rate: queue(rate, disturbed="others are busy"), 30, 1, 0.3)
    row = result("S3", found, LOAD)
    assert not row["certified"] and row["capacity_evt_s"] > 30
    assert row["reason"].endswith("the machine was disturbed: others are busy")


def test_a_wait_for_clients_alone_is_no_capacity_of_the_server():
    assert queue(150, at_client=True).client_limited
    assert not queue(40, at_client=True).client_limited and not queue(150).client_limited
    found = search(lambda rate: queue(rate, at_client=True), 150, 1, 1)
    assert "requests waited for one of the 16 clients" in result("S3", found, LOAD)["reason"]


def test_a_quantile_needs_enough_requests():
    row = queue(40, n=99).row()
    assert math.isnan(row["p99_ms"]) and row["p50_ms"] > 0
    assert queue(40, n=100).row()["p99_ms"] > 0
    empty = Trial(10.0, 100.0, 0.99).row()
    assert empty["n_queries"] == empty["n_over"] == 0 and empty["verdict"] == UNDECIDED
    assert pd.isna(empty["p50_ms"])


def test_requests_that_the_server_turns_away_are_over_the_limit_and_no_failures():
    quick = queue(10.0, n=1000)
    for sample in quick.samples[::20]:
        sample.error, sample.rejected, sample.duration_ns = "quota", True, 1
    trial = Trial(10.0, 100.0, 0.99, quick.samples)
    row = trial.row()
    assert trial.verdict == OVER and not trial.client_limited
    assert row["n_over"] >= 50 and row["problem"] == ""
    assert math.isnan(row["p99_ms"]) and row["p50_ms"] < 100
    queue.cache_clear()
