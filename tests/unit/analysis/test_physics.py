"""The table of tracking performance against events small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest
from hand_made import make_event, make_method

from exatrkx_service.analysis.physics import (
    PHYSICS_COLUMNS,
    TIMES,
    physics_table,
    tracking_performance,
)
from exatrkx_service.tracking import STATES, Method, MethodError, found_edges

INTERVALS = {"confidence_level": 0.95}


def rows_of(table, quantity, population, variable="overall"):
    chosen = (table.quantity == quantity) & (table.population == population)
    return table[chosen & (table.variable == variable)]


def counted(table, quantity, population, variable="overall"):
    """(bin_low, passed, total) of every bin, or (passed, total) overall."""
    rows = rows_of(table, quantity, population, variable)
    if variable == "overall":
        return (rows.passed.item(), rows.total.item())
    return list(zip(rows.bin_low, rows.passed, rows.total, strict=True))


@pytest.fixture
def events():
    """Event 0: three particles and two points of noise; event 1: one particle."""
    first = make_event(
        0,
        (5, 5, 3),
        noise=2,
        vr=[0.0, 200.0, 0.0],
        from_hnl=[False, True, False],
        pt=[2.0, 4.0, 0.6],
    )
    return [first, make_event(1, (6,), eta=[-1.5])]


@pytest.fixture
def method(events):
    # Event 0: particle 0 is found, particle 1 in pieces of 3 and 2, particle 2 and noise are a fake
    # in which no one has more than half. Event 1: found, and one point of it left over.
    labels = [[0] * 5 + [5, 5, 5, 8, 8] + [10, 10, -1, 10, 10], [0] * 5 + [-1]]
    return make_method(*labels)


@pytest.fixture
def table(events, method):
    return physics_table(events, {"walk": method}, **INTERVALS)


def test_the_table_has_its_columns_and_one_row_per_bin(table):
    assert table.columns.tolist() == PHYSICS_COLUMNS
    assert (table.method == "walk").all()
    assert not table.duplicated(PHYSICS_COLUMNS[:6]).any()


def test_efficiencies_add_the_counts_of_all_events(table):
    efficiency = "technical_efficiency"
    assert counted(table, efficiency, "A") == (3, 4)
    assert counted(table, efficiency, "A_hnl") == (1, 1)
    assert counted(table, efficiency, "B") == (3, 3)
    assert counted(table, efficiency, "A", "eta") == [(-2, 1, 1), (0, 2, 3)]
    assert counted(table, efficiency, "A", "pt") == [(0.5, 0, 1), (2, 2, 2), (3, 1, 1)]
    assert counted(table, efficiency, "B", "production_radius") == [(0, 2, 2), (170, 1, 1)]
    assert counted(table, efficiency, "A", "n_space_points") == [(3, 0, 1), (5, 2, 2), (6, 1, 1)]


def test_the_interval_is_wilsons(table):
    row = rows_of(table, "technical_efficiency", "A").iloc[0]
    assert row.value == 0.75
    # Wilson score interval of 3 of 4 at 95 % (E. B. Wilson, J. Am. Stat. Assoc. 22, 209, 1927).
    z, n, p = 1.959964, 4, 0.75
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert row.low == pytest.approx((centre - half) / (1 + z**2 / n), abs=1e-6)
    assert row.high == pytest.approx((centre + half) / (1 + z**2 / n), abs=1e-6)


def test_every_candidate_is_in_one_of_four_states(table):
    rates = ["purity", "duplicate_rate", "fragment_rate", "fake_rate"]
    assert len(rates) == len(STATES)
    assert [counted(table, rate, "candidates") for rate in rates] == [
        (3, 4),
        (0, 4),
        (0, 4),
        (1, 4),
    ]
    # Every particle and the noise begin at r = 30 mm.
    assert counted(table, "fake_rate", "candidates", "inner_radius") == [(0, 1, 4)]
    assert counted(table, "fake_rate", "candidates", "n_space_points") == [
        *((3, 0, 1), (4, 1, 1), (5, 0, 2)),
    ]
    eta = np.arcsinh(10 / 30)
    assert counted(table, "purity", "candidates", "eta") == [(np.floor(eta), 3, 4)]


def test_duplicates_and_fragments_are_counted():
    events = [make_event(0, (7, 9))]
    labels = [0] * 4 + [4] * 3 + [7] * 3 + [10] * 3 + [13] * 3
    table = physics_table(events, {"m": make_method(labels)}, **INTERVALS)
    assert counted(table, "duplicate_rate", "candidates") == (1, 5)
    assert counted(table, "fragment_rate", "candidates") == (3, 5)


def test_edges_are_those_of_methods_that_have_them(events, method):
    tensors = {"edges": np.array([[0, 1], [1, 5]]), "edge_scores": np.array([0.9, 0.1])}
    tensors["filtered_edges"] = tensors["edges"]
    edges = pd.concat([found_edges(event, tensors, 0.5) for event in events])
    method = type(method)(method.tracks, method.times, edges)
    table = physics_table(events, {"graph": method}, **INTERVALS)
    # True edges: 4 + 4 + 2 in event 0, 5 in event 1. 0-1 is true in both, 1-5 in neither.
    assert counted(table, "edge_efficiency_building", "all") == (2, 15)
    assert counted(table, "edge_efficiency_gnn", "A_hnl") == (0, 4)
    assert counted(table, "edge_purity_filtering", "all") == (2, 4)
    assert counted(table, "edge_purity_gnn", "all") == (2, 2)
    other = physics_table(events, {"other": make_method([-1] * 15, [-1] * 6)}, **INTERVALS)
    assert not other.quantity.str.startswith("edge").any()


def test_times_are_those_of_whole_events(events):
    method = make_method([-1] * 15, [-1] * 6)
    method.times["duration_ns"] = [1_000_000, 2_000_000, 4_000_000, 5_000_000]  # 3 and 9 ms
    table = physics_table(events, {"m": method}, **INTERVALS)
    value = {q: rows_of(table, q, "events").iloc[0] for q in table.quantity if "time" in q}
    assert value["time_mean_ms"].value == 6
    # Student's t at 95 % with one degree of freedom is 12.706; the standard error is 3 ms.
    assert value["time_mean_ms"].high == pytest.approx(6 + 12.706 * 3, rel=1e-4)
    assert value["time_mean_ms"].low == pytest.approx(6 - 12.706 * 3, rel=1e-4)
    assert value["time_p50_ms"].value == 6
    assert np.isnan(value["time_p95_ms"].value)  # of 20 events or more
    assert [row.total for row in value.values()] == [2, 2, 2]
    assert method.step_ms() == {"find": 2.5, "fit": 3.5}


def test_without_candidates_and_hnl_there_is_no_value_but_a_row():
    event = make_event(0, (5,))
    table = physics_table([event], {"m": make_method([-1] * 5)}, **INTERVALS)
    for quantity, population in (("purity", "candidates"), ("technical_efficiency", "B_hnl")):
        row = rows_of(table, quantity, population).iloc[0]
        assert (row.passed, row.total) == (0, 0)
        assert np.isnan([row.value, row.low, row.high]).all()
    assert counted(table, "technical_efficiency", "B") == (0, 1)
    performance = tracking_performance(table, "m")
    assert performance["purity"] == {
        **dict.fromkeys(("value", "low", "high")),
        **{"passed": 0, "total": 0},
    }


def test_a_method_without_times_has_no_time_but_a_row(events, method):
    untimed = Method(method.tracks, method.times.iloc[:0])
    table = physics_table(events, {"m": untimed}, **INTERVALS)
    times = table[table.population == "events"]
    assert times.quantity.tolist() == [*TIMES]
    assert times[["value", "low", "high"]].isna().all(axis=None) and (times.total == 0).all()


def test_performance_names_the_overall_ratios_of_a_method(events, table, method):
    performance = tracking_performance(table, "walk")
    assert list(performance) == [
        *(f"technical efficiency, {name}" for name in ("A", "A, HNL decay products")),
        *(f"technical efficiency, {name}" for name in ("B", "B, HNL decay products")),
        *("purity", "duplicate rate", "fragment rate", "fake rate"),
    ]
    assert performance["technical efficiency, A"]["passed"] == 3
    with pytest.raises(MethodError, match="method CKF: not in the table, which has walk"):
        tracking_performance(table, "CKF")


def test_the_table_survives_its_file(table, tmp_path):
    table.to_csv(tmp_path / "physics.csv", index=False)
    again = pd.read_csv(tmp_path / "physics.csv", float_precision="round_trip")
    assert tracking_performance(again, "walk") == tracking_performance(table, "walk")


def test_results_of_other_events_are_refused(events, method):
    with pytest.raises(
        MethodError, match="method m: tracks of event 1, which is not in the sample"
    ):
        physics_table(events[:1], {"m": method}, **INTERVALS)
    with pytest.raises(MethodError, match="method m: no times of event 1"):
        physics_table(events, {"m": make_method([-1] * 15)}, **INTERVALS)
    with pytest.raises(MethodError, match="method m: event 1: space_point: found 0 to 9, expected"):
        physics_table(events, {"m": make_method([-1] * 15, [0] * 10)}, **INTERVALS)
    with pytest.raises(ValueError, match="no events"):
        physics_table([], {"m": method}, **INTERVALS)
