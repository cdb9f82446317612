import pandas as pd

from exatrkx_service.analysis.batches import BATCH_COLUMNS, per_event
from exatrkx_service.analysis.summary import COST


def test_what_a_request_costs_is_shared_by_its_events(tables):
    names = {"S0": "S0_batch1", "S4": "S4_batch4"}
    summary = tables.summary[tables.summary.option.isin(names)].replace({"option": names})
    options = {name: {"batch": int(name[-1])} for name in names.values()}
    found = per_event(summary, options)
    assert list(found) == BATCH_COLUMNS
    assert found.option.tolist() == ["S0"] * 3 + ["S4"] * 3
    request = summary[summary.option == "S4_batch4"].reset_index(drop=True)
    event = found[found.option == "S4"].reset_index(drop=True)
    for column in (*COST, "control_ms", "client_cpu_ms", "server_cpu_ms"):
        pd.testing.assert_series_equal(4 * event[column], request[column])
    pd.testing.assert_series_equal(event.throughput_evt_s, 4 * request.throughput_evt_s)
    pd.testing.assert_series_equal(event.mean_ms, request.mean_ms)
    own = found[found.option == "S0"].cost_ms
    assert own.tolist() == summary[summary.option == "S0_batch1"].cost_ms.tolist()
