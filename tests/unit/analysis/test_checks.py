import pandas as pd
import pytest
from synthetic import make_timings

from exatrkx_service.analysis.checks import (
    check_sums,
    combine_provenance,
    span_warnings,
    stability_warnings,
    untimed_share,
)
from exatrkx_service.analysis.timings import TimingsError


@pytest.fixture
def timings():
    return make_timings({"S0": [], "S3": ["gnn"]}, 20, concurrencies=(1, 2))


def test_sums_that_add_up_have_no_gap(timings):
    assert check_sums(timings) == 0


def test_a_gap_is_measured_and_above_one_percent_refused(timings):
    rows = timings.index[(timings.option == "S3") & (timings.part == "total")]
    total = timings.loc[rows[4], "duration_ns"]
    timings.loc[rows[4], "duration_ns"] = round(total / 0.995)
    assert check_sums(timings) == pytest.approx(0.005, rel=1e-3)
    timings.loc[rows[4], "duration_ns"] = round(total / 0.98)
    with pytest.raises(TimingsError, match=r"option S3, event 4 \(round 1, concurrency 1.*1%"):
        check_sums(timings)


def test_a_sample_without_parts_is_a_gap(timings):
    whole = (timings.option == "S0") & (timings.event == 7) & (timings.part != "total")
    with pytest.raises(TimingsError, match=r"option S0, event 7 .* add up to 0\.000 ms"):
        check_sums(timings[~whole])


def test_failed_samples_are_not_summed(timings):
    failed = timings[timings.part == "total"].assign(status="failed")
    assert check_sums(failed) == 0


def slower(timings, factor):
    """Round 2 repeats round 1, and S3 at concurrency 2 takes ``factor`` times as long in it."""
    first = timings[timings["round"] == 1]
    chosen = (first.option == "S3") & (first.concurrency == 2)
    duration = first.duration_ns.where(~chosen, (first.duration_ns * factor).astype("int64"))
    return pd.concat([first, first.assign(round=2, duration_ns=duration)], ignore_index=True)


def test_equal_rounds_give_no_warning(timings):
    assert stability_warnings(slower(timings, 1)) == []


def test_a_slower_round_gives_one_warning_that_names_it(timings):
    warnings = stability_warnings(slower(timings, 1.2))
    assert len(warnings) == 1
    assert warnings[0].startswith("S3 at concurrency 2: round 2 took")


def test_a_difference_that_matters_to_no_one_is_silent(timings):
    assert stability_warnings(slower(timings, 1.03)) == []


def test_a_difference_that_one_event_makes_is_silent(timings):
    """One hiccup moves the mean by far more than the tolerance, but not the events in common."""
    timings = slower(timings, 1)
    hiccup = (timings["round"] == 2) & (timings.event == 0) & (timings.repetition == 1)
    timings.loc[hiccup, "duration_ns"] *= 20
    assert stability_warnings(timings) == []


def test_one_round_can_not_disagree(timings):
    assert stability_warnings(timings[timings["round"] == 1]) == []


def test_provenance_separates_common_differing_and_own():
    records = {
        "S0/round1": {"option": "S0", "server": None, "cpu": {"model": "A", "cores": 4}},
        "S1/round1": {"option": "S1", "server": "2.51", "cpu": {"model": "B", "cores": 4}},
        "S1/round2": {"option": "S1", "server": "2.51", "cpu": {"model": "A", "cores": 4}},
    }
    combined = combine_provenance(records)
    assert combined["common"] == {"server": "2.51", "cpu": {"cores": 4}}
    assert combined["differs"] == {
        "cpu.model": {"S0/round1": "A", "S1/round1": "B", "S1/round2": "A"}
    }
    assert combined["jobs"]["S1/round2"] == {"option": "S1"}


def test_jobs_that_lie_days_apart_are_told():
    records = {
        "S0/round1": {"job": {"began": "2026-01-31T20:00:00+00:00"}},
        "S3/round1": {"job": {"began": "2026-02-01T06:00:00+00:00"}},
    }
    assert span_warnings(records) == []
    records["S3/round1"]["job"]["began"] = "2026-02-01T09:30:00+00:00"
    (warning,) = span_warnings(records)
    assert warning.startswith("S0/round1 was measured on 2026-01-31 20:00 and S3/round1 on 2026-02")


def test_the_share_of_time_that_is_not_timed():
    jobs = {"a": {"job": {"timed_s": 30, "wall_s": 40}}, "b": {"job": {"timed_s": 9, "wall_s": 12}}}
    assert untimed_share(jobs) == pytest.approx(1 - 39 / 52)
