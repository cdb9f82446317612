"""What ran where and when, from provenance as it is combined from the jobs' records."""

import pytest

from exatrkx_service.analysis.checks import combine_provenance
from exatrkx_service.analysis.facts import NOT_KNOWN, run_facts, time_span


def record(**changes):
    return {
        "git_commit": "0123abc",
        "machine": {"cpu": "Xeon", "cores": 2, "gpu": None},
        "config": {"server": {"launcher": "embedded", "protocol": "grpc"}},
        "job": {
            "began": "2026-11-25T10:00:00+00:00",
            "device": "cpu",
            "server": "2.51.0",
            "networks": "native",
            "kernels": "torch",
        },
    } | changes


def facts_of(records, needs_server=True):
    return run_facts(combine_provenance(records), needs_server=needs_server)


def test_facts_are_as_recorded():
    later = record(job=record()["job"] | {"began": "2026-11-26T00:30:00+01:00"})
    assert facts_of({"S0/round1": later, "S1/round1": record()}) == {
        "Commit": "0123abc",
        "First to last job began (UTC)": "2026-11-25 10:00 to 23:30",
        "CPU": "Xeon",
        "Cores": "2",
        "GPU": "none found",
        "Device": "cpu",
        "Kernels": "torch",
        "Server": "Triton 2.51.0",
        "Server's launcher": "embedded",
        "Networks served by": "native",
        "Protocol": "grpc",
        "Model instances": NOT_KNOWN,
    }


def test_the_instances_are_those_that_the_servers_name():
    def job(**instances):
        models = {name: {"instances": number} for name, number in instances.items()}
        return record(job=record()["job"] | {"models": models})

    facts = facts_of({"S1/round1": job(gnn=4), "S4/round1": job(gnn=4, exatrkx=None)})
    assert facts["Model instances"] == "4"
    facts = facts_of({"S1/round1": job(gnn=4), "S4/round1": job(gnn=2, labeling=1)})
    assert facts["Model instances"] == "1, 2, 4"


def test_of_somebody_elses_server_the_machine_is_not_known():
    facts = facts_of({"S1/round1": record(config={"server": {"launcher": "external"}})})
    assert facts["CPU, of the clients"] == "Xeon" and "CPU" not in facts


def test_where_jobs_differ_each_value_names_its_jobs():
    gpu = record(
        git_commit="0123abc-dirty",
        machine={"cpu": "Xeon", "cores": 2, "gpu": "A100"},
        job=record()["job"] | {"device": "cuda:0"},
    )
    facts = facts_of({"S0/round1": record(), "S1/round1": gpu, "S1/round2": gpu})
    assert facts["Device"] == "cpu (S0/round1); cuda:0 (S1/round1, S1/round2)"
    assert facts["Commit"] == (
        "0123abc (S0/round1); 0123abc-dirty: with uncommitted changes (S1/round1, S1/round2)"
    )
    assert facts["CPU"] == "Xeon"


def test_what_was_not_recorded_is_not_known():
    nothing = {"git_commit": None, "machine": {}, "config": {}, "job": {"device": None}}
    assert set(facts_of({"S1/round1": nothing}).values()) == {NOT_KNOWN}
    assert facts_of({"S0/round1": nothing}, needs_server=False)["Server"] == "none was needed"


@pytest.mark.parametrize(
    ("began", "text"),
    [
        (
            ["2026-11-25T23:59:00+00:00", "2026-11-26T00:01:00+00:00"],
            "2026-11-25 23:59 to 2026-11-26 00:01",
        ),
        (
            ["2026-11-25T10:00:00+00:00", None],
            "2026-11-25 10:00 to 10:00; not known of 1 of 2 jobs",
        ),
        ([], NOT_KNOWN),
    ],
)
def test_the_time_span(began, text):
    assert time_span({f"S0/round{i}": {"job.began": b} for i, b in enumerate(began)}) == text
