import numpy as np
import pandas as pd
import pytest
from synthetic import make_timings

from exatrkx_service.analysis.breakdown import breakdown, unattributed_share
from exatrkx_service.analysis.timings import CELL, total_rows
from exatrkx_service.measure.estimate import plain_mean

LEVEL = {"confidence_level": 0.95}


def means_of(shown):
    return total_rows(shown).groupby(CELL).duration_ns.mean() / 1e6


def test_the_parts_add_up_to_the_mean_of_the_samples(tables):
    table = tables.parts
    sums = table.groupby(CELL).mean_ms.sum()
    pd.testing.assert_series_equal(sums, means_of(tables.shown), check_names=False)
    assert table.groupby(CELL).share.sum().to_numpy() == pytest.approx(1)
    assert (table.ci95_low_ms <= table.mean_ms).all()
    assert (table.mean_ms <= table.ci95_high_ms).all()
    assert table.option.drop_duplicates().tolist() == ["S0", "S1", "S2", "S3", "S4", "S5"]


def test_rows_are_in_the_order_of_time(tables):
    rows = tables.parts[(tables.parts.option == "S4") & (tables.parts.concurrency == 1)]
    order = list(zip(rows.stage, rows.part, strict=True))
    assert order[0] == ("embedding", "queue")
    assert order[-1] == ("event", "unattributed")
    assert order.index(("gnn", "hand_over")) < order.index(("gnn", "compute_infer"))
    assert order.index(("ensemble", "send")) < order.index(("ensemble", "receive"))


@pytest.fixture
def samples():
    timings = make_timings({"S1": ["gnn"]}, 10, rounds=1, concurrencies=(1,))
    return timings[timings.arm == "option"]


def test_what_no_part_holds_is_unattributed_whether_or_not_it_has_rows(samples):
    with_rows = breakdown(samples, **LEVEL)
    without = breakdown(samples[samples.part != "unattributed"], **LEVEL)
    pd.testing.assert_frame_equal(with_rows, without)
    row = with_rows[with_rows.part == "unattributed"].iloc[0]
    rows = samples[samples.part == "unattributed"]
    assert row.mean_ms == pytest.approx(rows.duration_ns.mean() / 1e6)
    share = rows.duration_ns.sum() / total_rows(samples).duration_ns.sum()
    assert row.share == pytest.approx(share)
    assert unattributed_share(samples)["S1", 1] == pytest.approx(share)


def test_a_part_that_is_missing_in_a_sample_counts_as_zero(samples):
    queue = samples.part == "queue"
    some = samples[~queue | (samples.event < 5)]
    whole, cut = (breakdown(rows, **LEVEL).set_index("part").mean_ms for rows in (samples, some))
    kept = samples[queue & (samples.event < 5)].duration_ns.sum()
    assert cut["queue"] == pytest.approx(kept / total_rows(samples).duration_ns.size / 1e6)
    assert cut["unattributed"] - whole["unattributed"] == pytest.approx(
        whole["queue"] - cut["queue"]
    )


def test_the_interval_of_a_part_is_that_of_its_means_in_the_blocks(samples):
    row = breakdown(samples, **LEVEL).set_index("part").loc["send"]
    means = samples[samples.part == "send"].groupby("block").duration_ns.mean() / 1e6
    assert len(means) == 10
    assert (row.mean_ms, row.ci95_low_ms, row.ci95_high_ms) == pytest.approx(plain_mean(means))


def test_failed_samples_are_in_no_part(samples):
    failed = samples.assign(status=np.where(samples.event == 3, "failed", "ok"))
    table = breakdown(failed, **LEVEL)
    ok = samples[samples.event != 3]
    pd.testing.assert_frame_equal(table, breakdown(ok, **LEVEL))


def test_without_samples_the_table_is_empty(samples):
    assert breakdown(samples.iloc[:0], **LEVEL).empty


def test_the_order_of_the_samples_does_not_matter(tables):
    shuffled = tables.shown.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(breakdown(shuffled, **LEVEL), tables.parts)
