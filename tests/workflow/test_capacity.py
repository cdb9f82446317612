"""A real run of the open loop at smoke size: a pipeline in the client, and a served one."""

import json

import pandas as pd
import pytest

from exatrkx_service.measure.arrivals import OVER, UNDER, verdict

RUN = ("--configfile", "config/smoke.yaml")
RUN += ("--config", "options={S1: null, S2: null, S3: null, S4: null}", "load={rates: [1, 1000]}")
RATES = [1, 1000]  # far below and far above what a machine can do


@pytest.fixture(scope="module")
def checkout(make_checkout):
    checkout = make_checkout()
    checkout.output = checkout.run("capacity", *RUN)
    return checkout


@pytest.fixture(scope="module")
def results(checkout):
    return checkout.folder / "results" / "smoke"


@pytest.fixture(scope="module")
def rates(results):
    return pd.read_csv(results / "capacity_rates.csv", float_precision="round_trip")


def requests_of(results, option):
    return pd.read_parquet(results / "capacity" / f"{option}.parquet")


def test_each_option_has_a_capacity_or_a_reason_why_not(results, rates):
    capacity = pd.read_csv(results / "capacity.csv", float_precision="round_trip").fillna(
        {"reason": ""}
    )
    assert capacity.option.tolist() == ["S0", "S5"]
    for row in capacity.itertuples():
        assert row.certified == (row.reason == ""), row.reason
        if pd.notna(row.capacity_evt_s):
            own = rates[rates.option == row.option].set_index("rate_evt_s")
            assert own.verdict[row.low_evt_s] == UNDER and own.verdict[row.high_evt_s] == OVER
            assert row.capacity_evt_s == row.low_evt_s < row.high_evt_s


def test_the_rates_of_the_configuration_are_measured_too(rates):
    for _, own in rates.groupby("option"):
        assert set(RATES) <= set(own.rate_evt_s)
        flood = own.set_index("rate_evt_s").loc[1000]
        assert flood.verdict == OVER and flood.achieved_evt_s < flood.offered_evt_s
    assert rates.problem.isna().all()


@pytest.mark.parametrize("option", ["S0", "S5"])
def test_the_latency_of_every_request_counts_from_when_it_was_due(results, rates, option):
    requests = requests_of(results, option)
    own = rates[rates.option == option].set_index("rate_evt_s")
    assert requests.groupby("rate_evt_s").size().to_dict() == own.n_queries.to_dict()
    assert (requests.status == "ok").all()
    end_ns = requests.start_ns + requests.duration_ns
    assert (requests.latency_ns == end_ns - requests.scheduled_ns).all()
    assert (requests.start_ns >= requests.scheduled_ns).all()
    for rate, rows in requests.groupby("rate_evt_s"):
        n_over = (rows.latency_ns > 100e6).sum()
        assert verdict(len(rows), n_over, 0.9) == own.verdict[rate]


def test_the_tracks_are_those_of_the_reference(results):
    reference = pd.read_parquet(results / "reference.parquet").set_index("event").labels_sha256
    for option in ("S0", "S5"):
        requests = requests_of(results, option)
        assert (requests.labels_sha256 == requests.event.map(reference)).all()


def test_the_figure_and_the_provenance_are_there(results):
    assert (results / "figures" / "latency_vs_rate.png").read_bytes().startswith(b"\x89PNG")
    job = json.loads((results / "capacity" / "S5.json").read_text())["job"]
    assert job["capacity"]["option"] == "S5" and job["models"]


def test_it_is_no_part_of_the_default_run(checkout):
    assert "capacity" not in checkout.run("--dry-run", *RUN)
    assert "Nothing to be done" in checkout.run("capacity", *RUN)
