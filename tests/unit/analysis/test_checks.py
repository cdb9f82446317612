import pandas as pd
import pytest
from synthetic import make_timings

from exatrkx_service.analysis.checks import (
    check_inputs,
    check_parts,
    combine_provenance,
    environment_warnings,
    span_warnings,
    untimed_share,
)
from exatrkx_service.analysis.timings import TimingsError
from exatrkx_service.identity import IdentityError


@pytest.fixture
def timings():
    return make_timings({"S0": [], "S3": ["gnn"]}, 20, rounds=1, concurrencies=(1, 2))


def test_parts_within_their_totals_are_accepted(timings):
    check_parts(timings)
    check_parts(timings[timings.part == "total"])


def test_parts_that_exceed_their_total_are_refused(timings):
    (row,) = timings.index[
        (timings.option == "S3")
        & (timings.arm == "option")
        & (timings.part == "total")
        & (timings.event == 4)
        & (timings.concurrency == 2)
        & (timings.repetition == 1)
    ]
    total = timings.loc[row, "duration_ns"]
    timings.loc[row, "duration_ns"] = round(total * 0.9995)
    check_parts(timings)  # clocks are read and rounded
    timings.loc[row, "duration_ns"] = round(total * 0.99)
    with pytest.raises(
        TimingsError,
        match=r"option S3, round 1, concurrency 2, arm option, .*event 4: the parts add up to",
    ):
        check_parts(timings)


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


def test_processes_are_their_jobs_own():
    records = {
        f"S0/round{number}": {"job": {"affinities": {f"client {number}": [0]}}} for number in (1, 2)
    }
    combined = combine_provenance(records)
    assert combined["common"] == combined["differs"] == {}
    assert combined["jobs"]["S0/round2"] == {"job.affinities.client 2": [0]}


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


def record(**changes):
    limits = {"affinity": [0, 1], "cpu_quota": None}
    base = {"git_commit": "abc", "git_commit_unknown": None}
    return base | {"job": {"limits": limits, "affinity_after": [0, 1]}} | changes


def test_what_a_reader_must_know_of_the_environment():
    assert environment_warnings({"S0/round1": record()}) == []
    unknown = record(git_commit=None, git_commit_unknown="dubious ownership")
    half = record(job={"limits": {"affinity": [0, 1], "cpu_quota": 0.5}})
    nice = record(job={"limits": {"affinity": [0, 1], "nice": 10}})
    bound = record(job={"limits": {"affinity": [0, 1]}, "affinity_after": [0]})
    assert environment_warnings({"a": unknown, "b": half, "c": half, "d": bound, "e": nice}) == [
        "the commit is not known: dubious ownership",
        "a control group grants 0.5 of the 2 CPUs",
        "libraries have bound a job to the CPUs [0] of [0, 1]",
        "the processes are nice (10): others come first",
    ]


SETTINGS = {"S3": {"pipeline": {"filter_cut": 0.008}, "measure": {"concurrency": [1, 2]}}}
INPUTS = {"events_sha256": "e", "networks": {"gnn": {"weights_sha256": "w"}}}


def results(folder, inputs=INPUTS, settings=SETTINGS["S3"]):
    """Files of a reference and of samples that say what they are results of."""
    reference, samples = folder / "reference.parquet", folder / "S3" / "round1.parquet"
    samples.parent.mkdir()
    for path, attributes in (
        (reference, {"inputs": INPUTS}),
        (samples, {"inputs": inputs, "settings": settings}),
    ):
        table = pd.DataFrame({"event": [1]})
        table.attrs = attributes
        table.to_parquet(path)
    return [samples], reference


def test_results_of_the_same_inputs_and_settings_belong_together(tmp_path):
    check_inputs(*results(tmp_path), SETTINGS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": INPUTS | {"events_sha256": "x"}}, "events_sha256: x, but e in "),
        (
            {"inputs": INPUTS | {"networks": {"gnn": {"weights_sha256": "x"}}}},
            r"networks\.gnn\.weights_sha256: x, but w in ",
        ),
        ({"inputs": {}}, "events_sha256: none, but e in "),
        (
            {"settings": {"pipeline": {"filter_cut": 0.5}, "measure": {"concurrency": [1, 2]}}},
            r"pipeline\.filter_cut: 0\.5, but 0\.008 in the configuration",
        ),
    ],
)
def test_results_of_something_else_are_refused(tmp_path, change, message):
    with pytest.raises(IdentityError, match=rf"S3/round1\.parquet: {message}"):
        check_inputs(*results(tmp_path, **change), SETTINGS)
