"""The rule agreement, run for real on a few events."""

import libb64
import pandas as pd
import pytest

from exatrkx_service.measure.agreement import AGREEMENT_COLUMNS, MODELS
from exatrkx_service.measure.perf_analyzer import PACKAGES

TABLE = "results/smoke/agreement.csv"
SMOKE = ("agreement", "--configfile", "config/smoke.yaml")
EXTERNAL = "{launcher: external, urls: {grpc: 'localhost:1', http: 'localhost:2'}}"


@pytest.fixture(scope="module")
def checkout(make_checkout):
    return make_checkout()


def test_the_package_is_the_one_that_is_named():
    assert libb64.PACKAGES == PACKAGES


@pytest.mark.skipif(libb64.problem() is not None, reason=str(libb64.problem()))
def test_the_drivers_are_compared(checkout):
    overlay = checkout.overlay("few.yaml", measure={"concurrency": [2], "min_blocks": 3})
    output = checkout.run(*SMOKE, overlay)
    table = pd.read_csv(checkout.folder / TABLE)
    assert tuple(table) == AGREEMENT_COLUMNS
    if "could not be fetched" in output:
        pytest.skip(table.reason[0])
    assert table.model.tolist() == [*MODELS] and (table.concurrency == 2).all()
    assert table.reason.isna().all(), table.reason.dropna().tolist()
    assert (table.n_windows == 3).all()
    numbers = table.drop(columns=["model", "reason"])
    assert (numbers > 0).all(axis=None)
    assert "null_model, 2 clients, ours / theirs: p50 " in output
    assert not checkout.servers()


def test_where_they_cannot_be_the_rule_says_so_and_succeeds(checkout):
    output = checkout.run(*SMOKE, "--config", f"server={EXTERNAL}")
    assert "skipped: server.launcher: external" in output
    table = pd.read_csv(checkout.folder / TABLE)
    assert table.reason.str.startswith("server.launcher: external").all()
    assert table.p50_ratio.isna().all() and set(table.model) == set(MODELS)
