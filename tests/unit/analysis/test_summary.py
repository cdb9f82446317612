import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from synthetic import labels_hash, make_reference, make_timings

from exatrkx_service.analysis.summary import (
    breakdown,
    cost_vs_s0,
    event_means,
    mean_interval,
    quantiles,
    summarise,
    throughput_per_round,
)
from exatrkx_service.analysis.timings import COLUMNS, TimingsError, comparable

MS = 1_000_000
BOOTSTRAP = {"confidence_level": 0.95, "resamples": 200, "seed": 1}


def frame(samples):
    """Totals and one compute part from (option, round, repetition, event, start ms, ms, status)."""
    rows = []
    for option, number, repetition, event, start, duration, status in samples:
        sample = (option, number, 1, repetition, event, 0)
        ok = status == "ok"
        tail = (event + 1, 2, 1, status, "" if ok else "timeout")
        times = (int(start * MS), int(duration * MS))
        rows.append((*sample, "event", "total", *times, *tail, labels_hash(event) if ok else ""))
        if ok:
            rows.append((*sample, "gnn", "compute", *times, *tail, ""))
    return pd.DataFrame(rows, columns=COLUMNS)


BY_HAND = [
    ("S0", 1, 0, 0, 0, 10, "ok"),
    ("S0", 1, 0, 1, 10, 30, "ok"),
    ("S0", 2, 0, 0, 1000, 20, "ok"),
    ("S0", 2, 0, 1, 1020, 40, "ok"),
    ("S1", 1, 0, 0, 0, 50, "ok"),
    ("S1", 1, 0, 1, 50, 60, "ok"),
    ("S1", 2, 0, 0, 0, 70, "ok"),
    ("S1", 2, 0, 1, 80, 120, "ok"),
]


def test_summary_by_hand():
    timings = frame(BY_HAND)
    summary = summarise(timings, make_reference(timings), **BOOTSTRAP).set_index("option")
    s0, s1 = summary.loc["S0"], summary.loc["S1"]
    assert (s0.n_events, s0.n_failed, s1.n_events, s1.n_failed) == (2, 0, 2, 0)
    assert s0.mean_ms == 25
    assert s1.mean_ms == 75
    assert s0.std_ms == pytest.approx(np.std([10, 30, 20, 40], ddof=1))
    assert s0.p50_ms == 25
    assert np.isnan(s0.p95_ms) and np.isnan(s0.p99_ms)
    # S0: windows of 40 and 60 ms. S1: 110 ms and 200 ms.
    assert s0.throughput_evt_s == pytest.approx(4 / 0.100)
    assert s1.throughput_evt_s == pytest.approx(4 / 0.310)
    assert s0.slowdown_vs_S0 == 1
    assert s1.slowdown_vs_S0 == pytest.approx(75 / 25)
    assert s0.tracks_identical and s1.tracks_identical


@pytest.mark.parametrize("n_failed", [1, 2, 4])
def test_no_time_is_that_of_the_survivors(n_failed):
    failed = {("S1", 1, 0, 1), ("S1", 2, 0, 1), ("S1", 1, 0, 0), ("S1", 2, 0, 0)}
    chosen = sorted(failed)[:n_failed]
    timings = frame([(*row[:-1], "failed") if row[:4] in chosen else row for row in BY_HAND])
    reference = make_reference(timings)
    row = summarise(timings, reference, **BOOTSTRAP).set_index("option").loc["S1"]
    assert (row.n_failed, row.verdict) == (n_failed, "invalid")
    assert row.reason == f"{n_failed} of 4 requests failed, most often: timeout"
    numbers = [n for n in row.index if n.endswith("_ms") or n in ("throughput_evt_s",)]
    assert row[[*numbers, "slowdown_vs_S0"]].isna().all()
    assert set(breakdown(timings, reference, **BOOTSTRAP).option) == {"S0"}
    assert cost_vs_s0(timings, reference, **BOOTSTRAP).empty
    assert set(comparable(timings, reference).option) == {"S0"}


def test_where_no_event_has_a_track_nothing_is_valid():
    timings = frame(BY_HAND)
    summary = summarise(timings, make_reference(timings).assign(n_tracks=0), **BOOTSTRAP)
    assert set(summary.verdict) == {"invalid"} and summary.mean_ms.isna().all()
    assert set(summary.reason) == {"no tracks were found in any event"}


@pytest.mark.parametrize(
    ("n", "known"), [(1, [50]), (19, [50]), (20, [50, 95]), (99, [50, 95]), (100, [50, 95, 99])]
)
def test_a_quantile_needs_a_sample_above_it(n, known):
    values = np.arange(1.0, n + 1)
    found = quantiles(values)
    assert list(found) == [50, 95, 99]
    assert [q for q, value in found.items() if not np.isnan(value)] == known
    for q in known:
        assert found[q] == np.percentile(values, q)
        assert n == 1 or (values > found[q]).any()


def test_quantiles_of_too_few_samples_are_empty_in_the_summary():
    timings = frame([("S0", 1, 0, event, 10 * event, 5 + event, "ok") for event in range(20)])
    text = summarise(timings, make_reference(timings), **BOOTSTRAP).to_csv(index=False)
    row = next(csv.DictReader(text.splitlines()))
    assert (row["p50_ms"], row["p99_ms"]) == ("14.5", "")
    assert float(row["p95_ms"]) == pytest.approx(np.percentile(np.arange(5, 25), 95))


def test_rounds_have_windows_of_their_own():
    rounds = throughput_per_round(frame(BY_HAND)).set_index(["option", "round"])
    assert rounds.window_s["S0", 2] == pytest.approx(0.060)
    assert rounds.throughput_evt_s["S1", 1] == pytest.approx(2 / 0.110)


def test_without_s0_there_is_no_slowdown():
    timings = frame([row for row in BY_HAND if row[0] == "S1"])
    summary = summarise(timings, make_reference(timings), **BOOTSTRAP)
    assert summary.slowdown_vs_S0.isna().all()
    assert cost_vs_s0(timings, make_reference(timings), **BOOTSTRAP).empty


def test_other_tracks_are_reported_and_not_averaged():
    timings = frame(BY_HAND)
    reference = make_reference(timings)
    timings.loc[(timings.option == "S0") & (timings.part == "total"), "labels_sha256"] = "0" * 64
    summary = summarise(timings, reference, **BOOTSTRAP).set_index("option")
    assert not summary.tracks_identical["S0"]
    assert np.isnan(summary.mean_ms["S0"]) and np.isnan(summary.throughput_evt_s["S0"])
    assert (summary.verdict["S0"], summary.verdict["S1"]) == ("invalid", "stable")
    assert summary.reason["S0"] == "other tracks than the reference"
    assert summary.mean_ms["S1"] == 75
    assert np.isnan(summary.slowdown_vs_S0["S1"])
    assert set(breakdown(timings, reference, **BOOTSTRAP).option) == {"S1"}


def test_an_option_that_failed_throughout_has_a_row():
    timings = frame([("S0", 1, 0, 0, 0, 10, "ok"), ("S3", 1, 0, 0, 0, 99, "failed")])
    reference = make_reference(timings)
    row = summarise(timings, reference, **BOOTSTRAP).set_index("option").loc["S3"]
    assert (row.n_events, row.n_failed, row.tracks_identical) == (0, 1, False)
    assert np.isnan(row.mean_ms)


def test_one_event_has_a_mean_and_no_interval():
    timings = frame([("S0", 1, 0, 0, 0, 10, "ok")])
    row = summarise(timings, make_reference(timings), **BOOTSTRAP).iloc[0]
    assert row.mean_ms == 10
    assert np.isnan(row.ci95_low_ms) and np.isnan(row.ci95_high_ms)


def test_interval_is_scipys_of_the_event_means():
    rng = np.random.default_rng(5)
    means = rng.lognormal(3, 0.5, 40)
    expected = stats.bootstrap(
        (means,), np.mean, n_resamples=500, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    low, high = mean_interval(
        means[None] * 6, np.full((1, 40), 6), confidence_level=0.95, resamples=500, seed=3
    )
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_repetitions_do_not_narrow_the_interval():
    rng = np.random.default_rng(5)
    means = rng.lognormal(3, 0.5, 40)
    interval = {"confidence_level": 0.95, "resamples": 500, "seed": 3}
    once = mean_interval(means[None], np.ones((1, 40)), **interval)
    ten = mean_interval(means[None] * 10, np.full((1, 40), 10), **interval)
    assert ten == pytest.approx(once)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    truth = np.exp(0.3**2 / 2)
    inside = 0
    for trial in range(200):
        draws = rng.lognormal(0, 0.3, 50)
        low, high = mean_interval(
            draws[None], np.ones((1, 50)), confidence_level=0.9, resamples=300, seed=trial
        )
        inside += low <= truth <= high
    assert 0.82 < inside / 200 < 0.97


def test_a_drift_between_rounds_is_in_the_interval():
    rng = np.random.default_rng(5)
    means = rng.normal(30, 0.1, (1, 40))
    interval = {"confidence_level": 0.95, "resamples": 500, "seed": 3}
    low, high = mean_interval(means * [[1.0]], np.ones((1, 40)), **interval)
    assert high - low < 0.2
    low, high = mean_interval(means * [[1.0], [1.1], [1.3]], np.ones((3, 40)), **interval)
    assert low < 30.5 and high > 38.5


def test_events_that_failed_in_a_round_leave_it_out():
    times, counts = np.array([[10.0, 20.0], [30.0, 0.0]]), np.array([[1, 1], [1, 0]])
    low, high = mean_interval(times, counts, confidence_level=0.9, resamples=200, seed=3)
    assert 10 <= low < 20 < high <= 30


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 1e4), st.integers(1, 5)), min_size=2, max_size=30),
    st.floats(0.5, 0.99),
)
@example([(7788.825202416261, 5)] * 2, 0.66)
def test_interval_lies_within_the_events_means(events, level):
    means = np.array([mean for mean, _ in events])
    counts = np.array([count for _, count in events])
    low, high = mean_interval(
        (means * counts)[None], counts[None], confidence_level=level, resamples=50, seed=0
    )
    assert low <= high * (1 + 1e-9)  # equal bounds may differ by a rounding
    assert means.min() * (1 - 1e-9) <= low
    assert high <= means.max() * (1 + 1e-9)


def test_constant_times_have_an_interval_without_width():
    low, high = mean_interval(
        np.full((2, 3, 5), 3.0), np.ones((3, 5)), confidence_level=0.95, resamples=20, seed=0
    )
    assert low.tolist() == high.tolist() == [3.0, 3.0]


def test_breakdown_adds_up_to_the_summary(synthetic):
    timings, reference = synthetic
    summary = summarise(timings, reference, **BOOTSTRAP).set_index(["option", "concurrency"])
    table = breakdown(timings, reference, **BOOTSTRAP)
    by_option = table.groupby(["option", "concurrency"])
    pd.testing.assert_series_equal(by_option.mean_ms.sum(), summary.mean_ms, check_names=False)
    assert by_option.share.sum().to_numpy() == pytest.approx(1)
    assert (table.ci95_low_ms <= table.mean_ms).all()
    assert (table.mean_ms <= table.ci95_high_ms).all()
    assert table.option.drop_duplicates().tolist() == ["S0", "S1", "S2", "S3", "S4", "S5"]


def test_a_part_that_is_missing_in_a_sample_counts_as_zero():
    timings = frame(BY_HAND[:4])
    cut = (timings.part == "compute") & (timings.event == 1)
    queue = timings[cut].assign(part="queue", duration_ns=10 * MS)
    timings.loc[cut, "duration_ns"] -= 10 * MS
    timings = pd.concat([timings, queue], ignore_index=True)
    table = breakdown(timings, make_reference(timings), **BOOTSTRAP).set_index("part")
    assert table.mean_ms["queue"] == pytest.approx(5)
    assert table.share["queue"] == pytest.approx(5 / 25)


def test_cost_is_the_paired_difference():
    timings = frame(BY_HAND)
    cost = cost_vs_s0(timings, make_reference(timings), **BOOTSTRAP)
    # Round 1: 50 - 10 and 60 - 30. Round 2: 70 - 20 and 120 - 40.
    assert cost.to_dict("records")[0]["cost_ms"] == pytest.approx((40 + 30 + 50 + 80) / 4)
    assert (cost.ci95_low_ms[0], cost.ci95_high_ms[0]) == pytest.approx((30, 80))


def test_cost_is_sharper_than_the_means():
    timings = make_timings({"S0": [], "S1": ["gnn"]}, 40, concurrencies=(1,))
    reference = make_reference(timings)
    summary = summarise(timings, reference, **BOOTSTRAP).set_index("option").loc["S1"]
    cost = cost_vs_s0(timings, reference, **BOOTSTRAP).iloc[0]
    width = cost.ci95_high_ms - cost.ci95_low_ms
    assert width < 0.3 * (summary.ci95_high_ms - summary.ci95_low_ms)


def test_event_means_leave_failures_out():
    timings = frame([(*r[:-1], "failed") if r[:4] == ("S1", 1, 0, 1) else r for r in BY_HAND])
    means = event_means(timings).set_index(["option", "event"])
    assert means.mean_ms["S1", 1] == 120
    assert means.n_samples["S1", 1] == 1


def test_the_order_of_the_rows_does_not_matter(synthetic):
    timings, reference = synthetic
    shuffled = timings.sample(frac=1, random_state=0)
    for function in (summarise, breakdown, cost_vs_s0):
        pd.testing.assert_frame_equal(
            function(timings, reference, **BOOTSTRAP), function(shuffled, reference, **BOOTSTRAP)
        )


def test_malformed_samples_are_refused(synthetic):
    timings, reference = synthetic
    for function in (summarise, breakdown, cost_vs_s0):
        with pytest.raises(TimingsError, match="timings: column 'part' is missing"):
            function(timings.drop(columns="part"), reference, **BOOTSTRAP)
