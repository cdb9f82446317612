import pandas as pd
import pytest
from synthetic import make_reference, make_timings

from exatrkx_service.analysis.verdicts import INVALID, STABLE, UNSTABLE, verdicts


@pytest.fixture
def timings():
    return make_timings({"S0": [], "S3": ["gnn"]}, 20, concurrencies=(1, 2))


def judge(timings, jobs=None):
    return verdicts(timings, make_reference(timings), jobs or {})


def slower(timings, factor):
    """Round 2 repeats round 1, and S3 at concurrency 2 takes ``factor`` times as long in it."""
    first = timings[timings["round"] == 1]
    chosen = (first.option == "S3") & (first.concurrency == 2)
    duration = first.duration_ns.where(~chosen, (first.duration_ns * factor).astype("int64"))
    return pd.concat([first, first.assign(round=2, duration_ns=duration)], ignore_index=True)


@pytest.mark.parametrize("factor", [1, 1.03])
def test_equal_rounds_are_stable_and_so_is_what_matters_to_no_one(timings, factor):
    assert set(judge(slower(timings, factor)).values()) == {(STABLE, "")}


def test_a_slower_round_is_unstable_and_named(timings):
    found = judge(slower(timings, 1.2))
    verdict, reason = found.pop(("S3", 2))
    assert verdict == UNSTABLE and reason.startswith("round 2 took")
    assert set(found.values()) == {(STABLE, "")}


def test_a_difference_that_one_event_makes_is_silent(timings):
    """One hiccup moves the mean by far more than the tolerance, but not the events in common."""
    timings = slower(timings, 1)
    hiccup = (timings["round"] == 2) & (timings.event == 0) & (timings.repetition == 1)
    timings.loc[hiccup, "duration_ns"] *= 20
    assert set(judge(timings).values()) == {(STABLE, "")}


def test_one_round_can_not_disagree(timings):
    assert set(judge(timings[timings["round"] == 1]).values()) == {(STABLE, "")}


QUIET = {"others": 0.02, "steal": 0.0, "throttled": 0.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"others": 0.97}, "other processes kept 0.97 CPUs busy in round 1"),
        ({"steal": 0.3}, "the machine's host took 0.30 CPUs in round 1"),
        ({"throttled": 0.5}, "a CPU quota stopped the processes in 50% of its periods in round 1"),
    ],
)
def test_a_disturbed_cell_is_unstable_whatever_its_times(timings, change, reason):
    cells = [{"concurrency": 1} | QUIET, {"concurrency": 2} | QUIET | change]
    jobs = {"S3/round1": {"job": {"option": "S3", "round": 1, "cells": cells}}}
    found = judge(slower(timings, 1), jobs)
    assert found.pop(("S3", 2)) == (UNSTABLE, reason)
    assert set(found.values()) == {(STABLE, "")}


def test_a_model_that_was_not_warm_makes_its_jobs_cells_unstable(timings):
    job = {"option": "S3", "round": 1, "cold_processes": ["77"]}
    job["cells"] = [{"concurrency": c} | QUIET for c in (1, 2)]
    found = judge(slower(timings, 1), {"S3/round1": {"job": job}})
    assert found["S3", 1] == (UNSTABLE, "1 processes of models were not warm in round 1")
    assert found["S0", 1] == (STABLE, "")


def test_invalid_outweighs_unstable(timings):
    timings = slower(timings, 1.5)
    total = (timings.part == "total") & (timings.option == "S3") & (timings.concurrency == 2)
    timings.loc[timings.index[total][:3], ["status", "error", "labels_sha256"]] = [
        "failed",
        "refused",
        "",
    ]
    assert judge(timings)["S3", 2] == (INVALID, "3 of 80 requests failed, most often: refused")
