"""Is a served stage computed as fast as at home?"""

import pandas as pd
import pytest
from synthetic import make_timings
from tables import make_tables

from exatrkx_service.analysis.computing import computing, computing_checks
from exatrkx_service.analysis.timings import STAGES


@pytest.fixture(scope="module")
def timings():
    return make_timings(n_events=20, rounds=1, concurrencies=(1, 4))


@pytest.fixture(scope="module")
def summary(timings):
    return make_tables(timings).summary.assign(verdict="stable")


def check_of(timings, summary):
    (check,) = computing_checks(computing(timings, summary).to_dict("records"))
    return check


def slower(timings, option, stage):
    slow = timings.copy()
    served = (slow.option == option) & (slow.stage == stage) & (slow.part == "compute_infer")
    slow.loc[served, "duration_ns"] *= 2
    return slow


def test_it_is_the_mean_of_an_event_with_one_client(timings, summary):
    table = computing(timings, summary).set_index(["option", "stage"])
    assert len(table) == 6 * len(STAGES)
    gnn = timings[(timings.concurrency == 1) & (timings.option == "S4") & (timings.stage == "gnn")]
    served = gnn[(gnn.part == "compute_infer") & (gnn.arm == "option")]
    assert table.option_ms["S4", "gnn"] == pytest.approx(served.duration_ns.mean() / 1e6)
    ratio = table.option_ms / table.control_ms
    assert ratio.between(0.95, 1.05).all()
    check = check_of(timings, summary)
    assert check["state"] == "ok"
    assert "the stages of S0, S1, S2, S3, S4, S5 compute as fast" in check["text"]


def test_a_stage_that_is_slower_on_the_server_is_told(timings, summary):
    check = check_of(slower(timings, "S3", "gnn"), summary)
    assert check["state"] == "warning"
    (line,) = check["details"]
    assert line.startswith("S3: gnn takes ") and "in the control beside it" in line


def test_a_tenth_of_a_millisecond_is_none():
    row = {"option": "S1", "stage": "labeling", "option_ms": 0.24, "control_ms": 0.17}
    assert computing_checks([row])[0]["state"] == "ok"


def test_cells_that_are_invalid_do_not_count(timings, summary):
    slow = slower(timings, "S3", "gnn")
    invalid = summary.assign(verdict=summary.verdict.mask(summary.option == "S3", "invalid"))
    check = check_of(slow, invalid)
    assert check["state"] == "ok" and "the stages of S0, S1, S2, S4, S5 compute" in check["text"]


def test_where_requests_are_not_divided_nothing_is_said(timings, summary):
    whole = timings.replace({"part": {"send": "request"}})
    assert "the stages of S0 compute" in check_of(whole, summary)["text"]


def test_with_several_clients_alone_and_of_models_of_others_there_is_nothing(timings, summary):
    several = timings[timings.concurrency == 4], summary[summary.concurrency == 4]
    assert computing(*several).empty
    chosen = timings[timings.option == "S5"]
    other = chosen.replace({"stage": dict.fromkeys(STAGES, "model")})
    theirs = pd.concat([other[other.arm == "option"], chosen[chosen.arm == "control"]])
    assert computing(theirs, summary).empty and computing_checks([]) == []
