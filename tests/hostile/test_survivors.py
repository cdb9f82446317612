"""Requests that fail: no number is that of the survivors."""

import pandas as pd
import pytest
from background import SMOKE, TWO, assert_nothing_left

FAILS = """
class TritonPythonModel(TritonPythonModel):
    def compute(self, tensors, watch):
        super().compute(tensors, watch)
        if tensors["edges"].shape[1] > {limit} and self.measuring:
            raise ValueError("no room for this event")

    def execute(self, requests):
        self.measuring = "warmup" not in requests[0].request_id()
        self.measuring &= "first" not in requests[0].request_id()
        return super().execute(requests)
"""


@pytest.fixture
def failing(copy_of_smoke):
    """A checkout whose served building fails for the larger events."""
    checkout = copy_of_smoke()
    sizes = pd.read_parquet(checkout.folder / "results/smoke/reference.parquet").n_edges_built
    model = checkout.folder / "model_repo" / "building" / "1" / "model.py"
    model.write_text(model.read_text() + FAILS.format(limit=int(sizes.sort_values().iloc[2])))
    return checkout


def test_an_option_with_failed_requests_has_no_numbers(failing):
    # In Python, whatever else could serve it.
    failing.run("aggregate", "plots", *SMOKE, *TWO, "server={backend: python}")
    results = failing.folder / "results" / "smoke"
    summary = pd.read_csv(results / "summary.csv").set_index(["option", "concurrency"])
    for clients in (1, 2):
        row = summary.loc["S2", clients]
        assert row.verdict == "invalid" and row.n_failed >= 1 and "no room" in row.reason
        assert row.reason.startswith(f"{row.n_failed:.0f} requests failed")
        numbers = [c for c in row.index if c.endswith("_ms") or c.endswith("_evt_s")]
        assert row[[*numbers, "slowdown_vs_S0"]].isna().all()
        assert summary.loc["S0", clients].mean_ms > 0
    assert "S2" not in set(pd.read_csv(results / "breakdown.csv").option)
    assert "S2" not in set(pd.read_csv(results / "cost.csv").option)
    samples = pd.read_parquet(results / "timings/S2/round1.parquet")
    failed = samples[samples.status == "failed"]
    assert len(failed) >= 2 and failed.error.str.contains("no room for this event").all()
    # The control beside it did not fail.
    assert set(failed.arm) == {"option"} and set(samples.arm) == {"option", "control"}


def test_a_time_that_no_request_can_keep(checkout):
    values = ("results=results/late", "measure={request_timeout_s: 0.001}")
    output = checkout.run("S5", *SMOKE, "--config", *values, fails=True)
    assert "option S5, warm-up: event " in output and "sent alone" in output
    assert "no answer within measure.request_timeout_s = 0.001 s" in output
    assert_nothing_left(checkout)


def test_more_clients_than_samples(checkout):
    output = checkout.run("S0", *SMOKE, "--config", "measure={concurrency: [64]}", fails=True)
    assert "measure.concurrency: 64 clients, but there are 15 samples" in output
    assert "Job " not in output
