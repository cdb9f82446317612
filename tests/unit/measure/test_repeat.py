"""S0 against itself, again and again, with steps that only sleep."""

import time

import numpy as np
import pytest

from exatrkx_service.measure import cell as cell_module
from exatrkx_service.measure.cell import Measuring
from exatrkx_service.measure.clients import client_threads
from exatrkx_service.measure.coverage import repeat
from exatrkx_service.measure.load import CONTROL, OPTION
from exatrkx_service.pipeline.pipeline import Pipeline

EVENTS = {event: np.zeros((event, 3), np.float32) for event in range(6)}
PLAN = {"precision": 0.5, "min_blocks": 3, "block_s": 0.03, "max_seconds": 1, "repetitions": 1}


def step(tensors, watch, request_id):
    time.sleep(0.002)
    tensors["labels"] = np.arange(len(tensors["space_points"]))
    watch.lap("labeling", "compute")


def pipelines():
    return {arm: Pipeline([step]) for arm in (OPTION, CONTROL)}, None


@pytest.fixture(scope="module")
def repeated():
    said = []
    with pytest.MonkeyPatch.context() as patch, client_threads(pipelines, 2, EVENTS) as crew:
        patch.setattr(cell_module.host, "disturbances", lambda happened: "")
        crew.ready(lambda: None)
        cells = repeat(Measuring(crew, EVENTS, PLAN), 3, [1, 2], said.append)
    return cells, said


def test_each_concurrency_is_measured_so_often(repeated):
    cells, _ = repeated
    numbers = [(number, cell.concurrency) for number, cell in cells]
    assert numbers == [(number, concurrency) for number in (1, 2, 3) for concurrency in (1, 2)]
    for _, cell in cells:
        assert len(cell.costs) >= PLAN["min_blocks"] and cell.n_failed == 0


def test_each_repeat_has_an_order_of_its_own(repeated):
    cells, _ = repeated
    orders = [
        [(sample.arm, sample.event) for block in cell.samples[:3] for sample in block]
        for _, cell in cells
        if cell.concurrency == 1
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_each_repeat_is_told(repeated):
    cells, said = repeated
    assert len(said) == len(cells)
    assert said[-1].startswith("repeat 3 of 3, concurrency 2: ")
    assert said[-1].endswith("blocks, 0 of them disturbed")
