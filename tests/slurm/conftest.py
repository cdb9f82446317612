"""Fixtures of the tests against a real Slurm; without it these tests are skipped."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster import STATE, Cluster, down, problem
from network import with_lock
from runs import PROFILE, SMOKE

# Two nodes as a centre has them, with a delayed link between them, and accounting.
CENTRE = {"nodes": 2, "accounting": True, "delay_ms": 1, "cpus": 128, "memory_mb": 256000}
PLAIN = {"nodes": 1}


def pytest_collection_modifyitems(items):
    """Tests on one kind of cluster follow each other, for a cluster takes a while to come up."""
    items.sort(key=lambda item: "plain_cluster" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def bring_up():
    """A function that brings up a kind of cluster, or gives the one that is up."""
    if reason := problem():
        pytest.skip(reason)
    state = {}

    def up(**kind) -> Cluster:
        if state.get("kind") != kind or not STATE.exists():
            state.update(kind=kind, cluster=Cluster(**kind).up())
        return state["cluster"]

    yield up
    down()


@pytest.fixture
def cluster(bring_up):
    """Two nodes, see CENTRE."""
    return bring_up(**CENTRE)


@pytest.fixture
def plain_cluster(bring_up):
    """One node without accounting."""
    return bring_up(**PLAIN)


@pytest.fixture(scope="session")
def make_checkout(make_checkout):
    """Checkouts whose Snakemake asks Slurm more often, see ``soon``."""
    soon = Path(__file__).with_name("soon.py")

    def make():
        checkout = make_checkout()
        command = checkout.command
        checkout.command = lambda *arguments: [sys.executable, str(soon), *command(*arguments)[1:]]
        return checkout

    return make


@pytest.fixture(scope="session")
def smoke_runs(bring_up, make_checkout):
    """Checkouts in which the smoke configuration has been run: here, and on the plain cluster.

    At the same time: one by one, each would leave a core idle for most of it. And neither waits for
    the measurements of tests that run beside these ones.
    """
    bring_up(**PLAIN)
    here, there = checkouts = make_checkout(), make_checkout()
    lock, command = here.folder / "lock", here.command
    lock.touch()
    here.command = lambda *arguments: with_lock(lock, *command(*arguments))
    with ThreadPoolExecutor() as pool:
        runs = pool.submit(here.run, *SMOKE), pool.submit(there.run, *PROFILE, *SMOKE)
    for checkout, run in zip(checkouts, runs, strict=True):
        checkout.output = run.result()
    return checkouts


@pytest.fixture(scope="session")
def smoke(smoke_runs):
    """A checkout in which the smoke configuration has been run here."""
    return smoke_runs[0]


@pytest.fixture(scope="session")
def on_slurm(bring_up, make_checkout):
    """A checkout in which the smoke configuration has been run through Slurm.

    ``first`` keeps what that run gave, for the tests measure anew in the checkout.
    """
    bring_up(**CENTRE)
    checkout = make_checkout()
    checkout.output = checkout.run(*PROFILE, *SMOKE)
    checkout.first = SimpleNamespace(folder=checkout.folder / "first")
    shutil.copytree(checkout.folder / "results", checkout.first.folder / "results")
    return checkout
