import csv

import numpy as np
import pandas as pd
import pytest
from synthetic import SETTINGS, labels_hash, make_blocks, make_jobs, make_reference

from exatrkx_service.analysis.cells import comparable
from exatrkx_service.analysis.summary import cost_table, event_means, quantiles, summarise
from exatrkx_service.analysis.timings import COLUMNS, TimingsError
from exatrkx_service.measure.estimate import half_width, trimmed_mean

MS = 1_000_000
ANY = {"confidence_level": 0.95, "precision": 99, "min_blocks": 1}  # all blocks, however few


def frame(samples):
    """Totals and one compute part from (option, arm, block, event, start ms, ms, status)."""
    rows = []
    for option, arm, block, event, start, duration, status in samples:
        sample = (option, 1, 1, arm, block, 0, event, 0)
        ok = status == "ok"
        tail = (event + 1, 2, 1, status, "" if ok else "timeout")
        times = (int(start * MS), int(duration * MS))
        rows.append((*sample, "event", "total", *times, *tail, labels_hash(event) if ok else ""))
        if ok:
            rows.append((*sample, "gnn", "compute", *times, *tail, ""))
    return pd.DataFrame(rows, columns=COLUMNS)


BY_HAND = [
    ("S0", "option", 0, 0, 0, 10, "ok"),
    ("S0", "control", 0, 0, 10, 12, "ok"),
    ("S0", "option", 1, 1, 30, 30, "ok"),
    ("S0", "control", 1, 1, 60, 28, "ok"),
    ("S1", "option", 0, 0, 0, 50, "ok"),
    ("S1", "option", 0, 1, 50, 70, "ok"),
    ("S1", "control", 0, 0, 130, 10, "ok"),
    ("S1", "control", 0, 1, 140, 30, "ok"),
    ("S1", "option", 1, 0, 200, 70, "ok"),
    ("S1", "control", 1, 0, 280, 20, "ok"),
    ("S1", "option", 1, 1, 300, 130, "ok"),
    ("S1", "control", 1, 1, 440, 60, "ok"),
]


def summary_of(samples, reference=None, blocks=None, jobs=None, **settings):
    timings = frame(samples) if isinstance(samples, list) else samples
    blocks = make_blocks(timings) if blocks is None else blocks
    reference = make_reference(timings) if reference is None else reference
    return summarise(timings, blocks, reference, jobs, **ANY | settings).set_index("option")


def test_summary_by_hand():
    summary = summary_of(BY_HAND)
    s0, s1 = summary.loc["S0"], summary.loc["S1"]
    assert (s0.n_events, s0.n_blocks, s0.n_failed) == (2, 2, 0)
    assert (s1.n_events, s1.n_blocks, s1.n_failed) == (2, 2, 0)
    assert s0.mean_ms == 20 and s0.control_ms == 20
    assert s1.mean_ms == (60 + 100) / 2
    assert s1.control_ms == (20 + 40) / 2
    # In its blocks S1 costs 60 - 20 and 100 - 40; S0 costs -2 and 2.
    assert s1.cost_ms == 50 and s0.cost_ms == 0
    assert (s1.cost_low_ms, s1.cost_high_ms) == pytest.approx(trimmed_mean([40, 60])[1:])
    assert s1.std_ms == pytest.approx(np.std([50, 70, 70, 130], ddof=1))
    assert s1.p50_ms == 70
    assert np.isnan(s1.p95_ms) and np.isnan(s1.p99_ms)
    # With one client the windows are the sums of the option's times.
    assert s1.throughput_evt_s == pytest.approx(4 / 0.320)
    assert s1.slowdown_vs_S0 == pytest.approx(80 / 30)
    half = half_width(trimmed_mean([40 - 20 * 5 / 3, 60 - 40 * 5 / 3])) / 30
    assert s1.slowdown_high - s1.slowdown_vs_S0 == pytest.approx(half)
    assert s1.slowdown_vs_S0 - s1.slowdown_low == pytest.approx(half)
    assert s1.client_cpu_ms == pytest.approx(0.2 * 320 / 4)
    assert s1.server_cpu_ms == pytest.approx(0.7 * 320 / 4)
    assert s0.tracks_identical and s1.tracks_identical


def test_costs_are_those_of_the_summary_and_hold_the_a_a_row(tables):
    cost, summary = tables.cost, tables.summary
    assert (cost.cost_ms == summary.cost_ms).all() and len(cost) == 18
    a_a = cost[cost.option == "S0"]
    assert (a_a.ci95_low_ms < 0).all() and (a_a.ci95_high_ms > 0).all()
    served = cost[cost.option != "S0"]
    assert (served.ci95_low_ms > 0).all()


def test_cost_is_sharper_than_the_means(tables):
    row = tables.summary.set_index(["option", "concurrency"]).loc["S3", 1]
    assert row.cost_high_ms - row.cost_low_ms < 0.3 * (row.ci95_high_ms - row.ci95_low_ms)


def test_a_drift_of_the_machine_drops_out_of_the_cost():
    def in_blocks(speeds):
        return [
            row
            for block, speed in enumerate(speeds)
            for row in (
                ("S3", "option", block, 0, 100 * block, 20 + 20 * speed, "ok"),
                ("S3", "control", block, 0, 100 * block + 60, 20 * speed, "ok"),
            )
        ]

    for speeds in ([1] * 5, [1, 1.1, 1.2, 1.3, 1.4]):
        row = summary_of(in_blocks(speeds)).loc["S3"]
        assert (row.cost_ms, row.cost_low_ms, row.cost_high_ms) == pytest.approx((20, 20, 20))
    assert row.ci95_high_ms - row.ci95_low_ms > 1


def test_only_blocks_that_count_are_in_the_numbers():
    timings = frame(BY_HAND)
    blocks = make_blocks(timings)
    blocks.loc[(blocks.option == "S1") & (blocks.block == 1), "disturbed"] = "steal"
    row = summary_of(timings, blocks=blocks).loc["S1"]
    assert (row.n_blocks, row.mean_ms, row.cost_ms) == (1, 60, 40)
    assert np.isnan(row.cost_low_ms)
    assert row.throughput_evt_s == pytest.approx(2 / 0.120)
    assert row.client_cpu_ms == pytest.approx(0.2 * 120 / 2)
    assert summary_of(timings, blocks=blocks, min_blocks=2).loc["S1"].cost_ms == 50


@pytest.mark.parametrize("n_failed", [1, 2, 4])
def test_no_time_is_that_of_the_survivors(n_failed):
    rows = [i for i, row in enumerate(BY_HAND) if row[:2] == ("S1", "option")][:n_failed]
    failed = [(*r[:-1], "failed") if i in rows else r for i, r in enumerate(BY_HAND)]
    timings = frame(failed)
    row = summary_of(timings).loc["S1"]
    assert (row.n_failed, row.verdict) == (n_failed, "invalid")
    assert row.reason == f"{n_failed} requests failed, most often: timeout"
    numbers = [n for n in row.index if n.endswith(("_ms", "_mib", "_evt_s"))]
    assert row[[*numbers, "slowdown_vs_S0"]].isna().all()
    summary = summary_of(timings).reset_index()
    assert set(cost_table(summary).option) == {"S0"}
    assert set(comparable(timings, make_blocks(timings), summary, 1).option) == {"S0"}


def test_where_no_event_has_a_track_nothing_is_valid():
    summary = summary_of(BY_HAND, make_reference(frame(BY_HAND)).assign(n_tracks=0))
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
    samples = [
        ("S0", arm, 0, event, 10 * event, 5 + event, "ok")
        for event in range(20)
        for arm in ("option", "control")
    ]
    row = next(csv.DictReader(summary_of(samples).to_csv().splitlines()))
    assert (row["p50_ms"], row["p99_ms"]) == ("14.5", "")
    assert float(row["p95_ms"]) == pytest.approx(np.percentile(np.arange(5, 25), 95))


def test_an_option_needs_no_row_of_s0_for_its_cost():
    row = summary_of([row for row in BY_HAND if row[0] == "S1"]).loc["S1"]
    assert (row.cost_ms, row.slowdown_vs_S0) == (50, pytest.approx(80 / 30))


def test_without_a_control_there_is_no_cost():
    summary = summary_of([row for row in BY_HAND if row[1] == "option"])
    assert summary.cost_ms.isna().all()
    assert set(summary.verdict) == {"unstable"}


def test_other_tracks_are_reported_and_not_averaged():
    timings = frame(BY_HAND)
    timings.loc[(timings.option == "S0") & (timings.part == "total"), "labels_sha256"] = "0" * 64
    summary = summary_of(timings)
    assert not summary.tracks_identical["S0"]
    assert np.isnan(summary.mean_ms["S0"]) and np.isnan(summary.throughput_evt_s["S0"])
    assert (summary.verdict["S0"], summary.verdict["S1"]) == ("invalid", "stable")
    assert summary.reason["S0"] == "other tracks than the reference"
    assert summary.mean_ms["S1"] == 80


def test_an_option_that_failed_throughout_has_a_row():
    row = summary_of([*BY_HAND[:4], ("S3", "option", 0, 0, 0, 99, "failed")]).loc["S3"]
    assert (row.n_events, row.n_failed, row.tracks_identical) == (0, 1, False)
    assert np.isnan(row.mean_ms)


def test_one_block_has_a_mean_and_no_interval():
    row = summary_of(BY_HAND[:2]).iloc[0]
    assert (row.mean_ms, row.cost_ms) == (10, -2)
    assert np.isnan(row.ci95_low_ms) and np.isnan(row.cost_high_ms)


def test_memory_is_the_largest_of_all_rounds(tables):
    rows = tables.summary.set_index(["option", "concurrency"])
    assert rows.client_pss_mib["S3", 4] == 300 + 15 * 4
    assert rows.server_pss_mib["S3", 4] == 1900 + 40 * 2
    assert np.isnan(rows.server_pss_mib["S0", 1])


def test_a_server_elsewhere_has_no_cpu_time_and_no_memory():
    timings = frame(BY_HAND)
    blocks = make_blocks(timings)
    blocks.loc[blocks.option == "S1", "server_cpu_ms"] = np.nan
    jobs = make_jobs(timings)
    jobs["S1/round1"]["job"]["cells"][0]["server_pss_mib"] = None
    row = summary_of(timings, blocks=blocks, jobs=jobs).loc["S1"]
    assert np.isnan(row.server_cpu_ms) and np.isnan(row.server_pss_mib)
    assert row.client_cpu_ms > 0 and row.client_pss_mib > 0


def test_event_means_leave_failures_out():
    failed = [(*r[:-1], "failed") if r[2:4] == (1, 1) else r for r in BY_HAND]
    timings = frame(failed)
    means = event_means(timings[timings.arm == "option"]).set_index(["option", "event"])
    assert means.mean_ms["S1", 1] == 70
    assert means.n_samples["S1", 1] == 1


def test_the_order_of_the_rows_does_not_matter(synthetic, tables):
    shuffled = [table.sample(frac=1, random_state=0) for table in synthetic]
    again = summarise(*shuffled, make_jobs(synthetic[0]), **SETTINGS)
    pd.testing.assert_frame_equal(again, tables.summary)


def test_malformed_data_are_refused(synthetic):
    timings, blocks, reference = synthetic
    with pytest.raises(TimingsError, match="timings: column 'part' is missing"):
        summarise(timings.drop(columns="part"), blocks, reference, **SETTINGS)
    with pytest.raises(TimingsError, match="blocks: column 'mhz' is missing"):
        summarise(timings, blocks.drop(columns="mhz"), reference, **SETTINGS)
    with pytest.raises(TimingsError, match="blocks: no row of option S0"):
        summarise(timings, blocks[blocks.option != "S0"], reference, **SETTINGS)
