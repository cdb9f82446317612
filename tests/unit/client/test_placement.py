"""Placements: whatever runs where, each stage runs once, in order, on the right side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.client import placement
from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import RemoteStep
from exatrkx_service.options import ENSEMBLE, FUSED, STAGES, Option
from exatrkx_service.pipeline.pipeline import LocalStep
from exatrkx_service.pipeline.tensors import DTYPES, SPECS

SHAPES = {
    "embedding": (4, 8),
    "edges": (2, 5),
    "filtered_edges": (2, 3),
    "edge_scores": (3,),
    "labels": (4,),
}


class Requests:
    """A connection that notes what is sent over it, and answers as the models would."""

    def __init__(self):
        self.transport, self.sent = self, []

    def encode(self, model, inputs, output, request_id):
        return (model, list(inputs), request_id), output

    def call(self, model, message):
        request, output = message
        assert model == request[0]
        self.sent.append(request)
        return output

    def decode(self, answer, output):
        assert answer == output
        return np.zeros(SHAPES[output], DTYPES[output])


@pytest.fixture(autouse=True)
def stages_that_note_their_call(monkeypatch):
    """Local stages note that they ran, in place of networks that would have to be exported."""

    def make_stage(stage, repository, parameters):
        def run(*inputs):
            assert len(inputs) == len(SPECS[stage].inputs)
            run.calls += 1
            return np.zeros(SHAPES[SPECS[stage].output], DTYPES[SPECS[stage].output])

        run.calls = 0
        return run

    monkeypatch.setattr(placement, "make_stage", make_stage)


@settings(deadline=None)
@given(st.sets(st.sampled_from(STAGES)))
def test_every_stage_runs_once_on_its_side(serve):
    option = Option.from_config("S6", {"serve": list(serve)})
    placed = Placement(option, "nowhere", {})
    requests = Requests()
    pipeline = placed.pipeline(requests)
    kinds = [RemoteStep if stage in serve else LocalStep for stage in STAGES]
    assert [type(step) for step in pipeline.steps] == kinds
    tensors = pipeline(np.zeros((4, 3), np.float32), request_id="c1/7/0")
    assert requests.sent == [
        (stage, list(SPECS[stage].inputs), f"c1/7/0/{stage}") for stage in STAGES if stage in serve
    ]
    assert {stage: run.calls for stage, run in placed.local.items()} == {
        stage: 1 for stage in STAGES if stage not in serve
    }
    assert tensors["labels"].shape == (4,) and tensors["labels"].dtype == np.int64


@pytest.mark.parametrize(
    ("serve", "model", "stage"), [("ensemble", ENSEMBLE, "ensemble"), ("fused", FUSED, "pipeline")]
)
def test_a_whole_pipeline_is_one_request(serve, model, stage):
    placed = Placement(Option.from_config("S7", {"serve": serve}), "nowhere", {})
    requests = Requests()
    tensors = placed.pipeline(requests)(np.zeros((4, 3), np.float32), request_id="c1/7/0")
    assert not placed.local
    assert requests.sent == [(model, ["space_points"], f"c1/7/0/{stage}")]
    assert tensors["labels"].shape == (4,)


def test_the_stages_of_the_client_are_shared_by_its_threads():
    placed = Placement(Option.from_config("S1", {"serve": ["gnn"]}), "nowhere", {})
    first, second = placed.pipeline(Requests()), placed.pipeline(Requests())
    assert first.steps[0].function is second.steps[0].function
