"""Is a served stage computed as fast as at home?"""

import pandas as pd
import pytest
from synthetic import make_timings

from exatrkx_service.analysis.computing import computing, computing_check
from exatrkx_service.analysis.timings import STAGES


@pytest.fixture(scope="module")
def timings():
    return make_timings(n_events=20, rounds=1, concurrencies=(1, 4))


def test_it_is_the_mean_of_an_event_with_the_fewest_clients(timings):
    table = computing(timings).set_index(["option", "stage"])
    assert set(table.concurrency) == {1} and len(table) == 6 * len(STAGES)
    gnn = timings[(timings.concurrency == 1) & (timings.option == "S4") & (timings.stage == "gnn")]
    served = gnn[(gnn.part == "compute_infer") & (gnn.arm == "option")]
    assert table.option_ms["S4", "gnn"] == pytest.approx(served.duration_ns.mean() / 1e6)
    ratio = table.option_ms / table.control_ms
    assert ratio.between(0.95, 1.05).all()
    assert set(table.loc["S5"].index) == set(STAGES)
    assert computing_check(computing(timings).to_dict("records"))["state"] == "ok"


def test_a_stage_that_is_slower_on_the_server_is_told(timings):
    slow = timings.copy()
    served = (slow.option == "S3") & (slow.stage == "gnn") & (slow.part == "compute_infer")
    slow.loc[served, "duration_ns"] *= 2
    check = computing_check(computing(slow).to_dict("records"))
    assert check["state"] == "warning"
    (line,) = check["details"]
    assert line.startswith("S3: gnn takes ") and "in the control beside it" in line


def test_a_tenth_of_a_millisecond_is_none(timings):
    rows = [{"option": "S1", "stage": "labeling", "option_ms": 0.24, "control_ms": 0.17}]
    assert computing_check(rows)["state"] == "ok"


def test_what_failed_and_models_of_others_have_no_rows(timings):
    other = timings[timings.option == "S5"].replace({"stage": dict.fromkeys(STAGES, "model")})
    control = timings[(timings.option == "S5") & (timings.arm == "control")]
    theirs = pd.concat([other[other.arm == "option"], control])
    assert computing(theirs).empty
    assert computing(timings.assign(status="failed")).empty
