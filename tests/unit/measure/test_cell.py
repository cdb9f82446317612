import time
from collections import Counter

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import RequestTimeout
from exatrkx_service.measure import cell as cell_module
from exatrkx_service.measure.cell import Measuring, affinities
from exatrkx_service.measure.clients import client_threads
from exatrkx_service.measure.load import CONTROL, OPTION
from exatrkx_service.measure.rows import tidy, tidy_blocks
from exatrkx_service.pipeline.pipeline import Pipeline

EVENTS = {event: np.zeros((event, 3), np.float32) for event in range(6)}
PLAN = {
    "precision": 0.5,
    "min_blocks": 4,
    "block_s": 0.05,
    "max_seconds": 5,
    "repetitions": 2,
    "concurrency": [1, 2],
}


def taking(seconds):
    def step(tensors, watch, request_id):
        time.sleep(seconds)
        tensors["labels"] = np.arange(len(tensors["space_points"]))
        watch.lap("labeling", "compute")

    return step


def burn(tensors, watch, request_id):
    """Spends 5 ms of CPU time."""
    end = time.thread_time() + 0.005
    while time.thread_time() < end:
        pass
    taking(0)(tensors, watch, request_id)


def measure(concurrency, option=None, control=None, plan=(), **hooks):
    steps = {OPTION: option or taking(0.006), CONTROL: control or taking(0.002)}

    def pipelines():
        return {arm: Pipeline([step]) for arm, step in steps.items()}, None

    with client_threads(pipelines, concurrency, EVENTS) as crew:
        crew.ready(lambda: None)
        measuring = Measuring(crew, EVENTS, PLAN | dict(plan), **hooks)
        return measuring.cell(concurrency, seed=1)


@pytest.fixture(autouse=True)
def calm(monkeypatch):
    """Whatever else the machine that runs the tests does."""
    monkeypatch.setattr(cell_module.host, "disturbances", lambda happened: "")


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_cost_is_the_difference_of_the_arms(concurrency):
    cell = measure(concurrency)
    assert cell.reached and cell.ended_early == "" and cell.n_failed == 0
    assert cell.cost.low < 4.5 and cell.cost.high > 3.5  # sleeping takes longer, in both arms
    assert len(cell.costs) == len(cell.samples) >= 4


@pytest.mark.parametrize("concurrency", [1, 3])
def test_both_arms_send_the_same_events_in_each_block(concurrency):
    cell = measure(concurrency)
    for block in cell.samples:
        arms = {
            arm: Counter((s.event, s.repetition) for s in block if s.arm == arm)
            for arm in (OPTION, CONTROL)
        }
        assert arms[OPTION] == arms[CONTROL] and set(arms[OPTION].values()) == {1}
    sent = Counter(s.event for block in cell.samples for s in block if s.arm == OPTION)
    assert min(sent.values()) >= PLAN["repetitions"] and set(sent) == set(EVENTS)


def test_it_goes_on_until_the_time_is_up_and_says_that_the_precision_was_not_reached():
    cell = measure(1, plan={"precision": 1e-9, "max_seconds": 0.5})
    assert not cell.reached and cell.seconds >= 0.5


def test_every_event_is_measured_however_long_it_takes():
    cell = measure(1, plan={"max_seconds": 1e-9, "precision": 1e-9})
    sent = Counter(s.event for block in cell.samples for s in block if s.arm == OPTION)
    assert min(sent.values()) >= PLAN["repetitions"]


def test_blocks_that_were_disturbed_are_repeated(monkeypatch):
    said = iter(["others", "", "others"] + [""] * 1000)
    monkeypatch.setattr(cell_module.host, "disturbances", lambda happened: next(said))
    cell = measure(1)
    assert len(cell.samples) >= 6 and len(cell.costs) == len(cell.samples) - 2
    assert [row["disturbed"] for row in cell.blocks[:6:2]] == ["others", "", "others"]


def test_what_is_kept_does_not_depend_on_the_latency(monkeypatch):
    slow = iter([0.3])

    def step(tensors, watch, request_id):
        if "/b1/" in request_id:
            time.sleep(next(slow, 0))
        taking(0.002)(tensors, watch, request_id)

    cell = measure(1, option=step)
    assert len(cell.costs) == len(cell.samples) and max(cell.costs) > 20


def test_a_failure_ends_the_cell_with_its_block():
    def step(tensors, watch, request_id):
        if "/b2/" in request_id and len(tensors["space_points"]) == 5:
            raise InferenceServerException("refused")
        taking(0.001)(tensors, watch, request_id)

    cell = measure(1, option=step, plan={"precision": 1e-9})
    assert len(cell.samples) == 3 and cell.n_failed >= 1
    assert "requests failed, the last: refused" in cell.ended_early
    failed = {row["arm"]: row["n_failed"] for row in cell.blocks[-2:]}
    assert failed == {OPTION: cell.n_failed, CONTROL: 0}


@pytest.mark.parametrize("filler", [True, False])
def test_nothing_more_is_measured_before_the_server_has_done_what_timed_out(filler):
    drained, lost, too_early = [], [], []

    def of(arm):
        def step(tensors, watch, request_id):
            if "/b0/" in request_id and ("/f" in request_id) == filler and not lost:
                lost.append(arm)
                raise RequestTimeout("gnn: no answer")
            if lost and arm not in lost and not drained:
                too_early.append(request_id)
            taking(0.001)(tensors, watch, request_id)

        return step

    cell = measure(2, of(OPTION), of(CONTROL), drain=lambda: drained.append(1))
    assert drained == [1] and len(cell.samples) == 1 and cell.n_failed >= 1
    assert not too_early, "the other arm was measured on a server that was still busy"


def test_a_row_for_each_block_and_arm_says_what_it_took(sizes):
    cell = measure(1, control=taking(0.001))
    blocks = tidy_blocks([cell], "S1", 2)
    assert len(blocks) == 2 * len(cell.samples)
    assert set(blocks.arm) == {OPTION, CONTROL} and (blocks.option == "S1").all()
    for column in ("window_s", "n_in_window", "client_cpu_ms"):
        assert (blocks[column] > 0).all(), column
    assert (blocks.server_cpu_ms == 0).all()
    samples = [sample for block in cell.samples for sample in block]
    for arm, rows in blocks.groupby("arm"):
        own = [sample for sample in samples if sample.arm == arm]
        assert rows.n_in_window.sum() == len(own)
        assert rows.window_s.sum() == pytest.approx(sum(s.duration_ns for s in own) / 1e9)
    sizes = sizes.iloc[[0] * len(EVENTS)].assign(event=list(EVENTS))
    table = tidy([cell], requests={}, journals={}, sizes=sizes, option="S1", round_number=2)
    totals = table[table.part == "total"]
    assert len(totals) == len(samples)
    assert totals.groupby(["block", "arm"]).size().unstack().notna().all(axis=None)


def test_cpu_time_is_that_of_the_process_that_spent_it():
    blocks = tidy_blocks([measure(1, option=burn, control=taking(0.005))], "S1", 1)
    per_event = blocks.groupby("arm").client_cpu_ms.sum() / blocks.groupby("arm").n_done.sum()
    assert per_event[OPTION] > 4.9 > 4 > per_event[CONTROL]


def test_cpu_time_is_shared_by_all_events_that_were_done_not_by_those_that_count():
    blocks = tidy_blocks([measure(2, option=burn)], "S1", 1)
    rows = blocks[blocks.arm == OPTION]
    assert 4.9 < rows.client_cpu_ms.sum() / rows.n_done.sum() < 6.5
    assert (rows.n_done >= 6 + 2).all()


def test_the_cpu_time_of_a_server_elsewhere_is_not_known():
    assert tidy_blocks([measure(1, server_pids=None)], "S1", 1).server_cpu_ms.isna().all()


def test_memory_and_affinities_are_those_of_the_processes():
    cell = measure(1)
    assert cell.client_pss_mib > 10
    with client_threads(lambda: ({}, None), 1, EVENTS) as crew:
        (cpus, *_) = affinities(crew, ()).values()
    assert len(cpus) >= 1


def test_memory_is_the_most_after_any_block(monkeypatch):
    mib = iter([100.0, 900.0, 300.0])
    monkeypatch.setattr(cell_module.host, "pss_mib", lambda pids: next(mib, None) if pids else 0.0)
    cell = measure(1)
    assert cell.client_pss_mib == 900 and cell.server_pss_mib == 0
    assert measure(1, server_pids=None).server_pss_mib is None
