import json

import pytest

from exatrkx_service.measure.load import Sample
from exatrkx_service.measure.rows import parts_of
from exatrkx_service.measure.trace import TraceError, read_trace
from exatrkx_service.options import STAGES
from exatrkx_service.pipeline.stopwatch import Lap

STAMPS = ("REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END")
STAMPS += ("COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END")


def entry(number, model, times, names=STAMPS, **extra):
    stamps = [{"name": name, "ns": ns} for name, ns in zip(names, times, strict=True)]
    return {"id": number, "model_name": model, "timestamps": stamps, **extra}


def write(path, *entries):
    path.write_text(json.dumps(entries))
    return read_trace(path)


def sample(start, duration, stage):
    laps = [Lap(stage, "serialise", start - 10, 10), Lap(stage, "request", start, duration)]
    return Sample(3, 0, 0, "c1/3/0", start - 10, duration + 10, laps)


def noted(**stages):
    """Journals in which the request's models noted (start, duration) of their stages."""
    return [Lap(stage, "compute_infer", *times) for stage, times in stages.items()]


def as_dict(parts):
    return {(lap.stage, lap.part): lap.duration_ns for lap in parts}


def test_a_request_is_cut_into_its_parts(tmp_path):
    requests = write(
        tmp_path / "t.json",
        entry(1, "gnn", (110, 112, 120, 121, 150, 155, 158), request_id="c1/3/0/gnn"),
    )
    journals = {"c1/3/0/gnn": noted(gnn=(123, 20))}
    parts = as_dict(parts_of(sample(100, 70, "gnn"), requests, journals))
    assert parts == {
        ("gnn", "serialise"): 10,
        ("gnn", "transfer"): 70 - 45,
        ("gnn", "queue"): 8,
        ("gnn", "compute_input"): 1,
        ("gnn", "backend"): 9,
        ("gnn", "compute_infer"): 20,
        ("gnn", "compute_output"): 5,
        ("gnn", "server_other"): 2,
    }


def test_server_time_after_the_response_is_left_out(tmp_path):
    # The response was with the client at 152: before the backend closed its books.
    requests = write(
        tmp_path / "t.json",
        entry(1, "gnn", (110, 112, 120, 121, 150, 190, 200), request_id="c1/3/0/gnn"),
    )
    journals = {"c1/3/0/gnn": noted(gnn=(125, 20))}
    parts = parts_of(sample(100, 52, "gnn"), requests, journals)
    assert as_dict(parts)["gnn", "compute_output"] == 2
    assert min(lap.duration_ns for lap in parts) >= 0
    assert sum(lap.duration_ns for lap in parts) == 62


def test_the_steps_of_an_ensemble_are_booked_under_their_stages(tmp_path):
    requests = write(
        tmp_path / "t.json",
        entry(1, "exatrkx", (110, 111, 190), ("REQUEST_START", "QUEUE_START", "REQUEST_END"))
        | {"request_id": "c1/3/0/ensemble"},
        # A step's books are closed (135) after the next has begun (130).
        entry(2, "embedding", (112, 113, 115, 116, 125, 135, 136), parent_id=1),
        entry(3, "building", (130, 131, 140, 141, 170, 175, 180), parent_id=1),
    )
    journals = {"c1/3/0/ensemble": noted(building=(150, 20), embedding=(117, 7))}
    parts = as_dict(parts_of(sample(100, 100, "ensemble"), requests, journals))
    assert parts["embedding", "compute_infer"] == 7
    assert parts["embedding", "backend"] == 2
    assert parts["building", "compute_infer"] == 20
    assert parts["embedding", "compute_output"] == 5  # up to 130
    assert parts["building", "queue"] == 9
    assert parts["ensemble", "transfer"] == 100 - 80
    assert parts["ensemble", "server_other"] == 80 - 18 - 45
    assert sum(parts.values()) == 110


def test_the_fused_model_has_five_stages_and_one_backend(tmp_path):
    requests = write(
        tmp_path / "t.json",
        entry(1, "pipeline", (110, 112, 120, 121, 200, 205, 208), request_id="c1/3/0/pipeline"),
    )
    stages = {stage: (125 + 12 * i, 10) for i, stage in enumerate(STAGES)}
    journals = {"c1/3/0/pipeline": noted(**stages)}
    parts = parts_of(sample(100, 120, "pipeline"), requests, journals)
    assert {lap.stage: (lap.start_ns, 10) for lap in parts if lap.part == "compute_infer"} == stages
    assert as_dict(parts)["pipeline", "backend"] == 79 - 50
    assert sum(lap.duration_ns for lap in parts) == 130


def test_another_clock_is_refused(tmp_path):
    requests = write(tmp_path / "t.json", entry(1, "gnn", range(10, 17), request_id="c1/3/0/gnn"))
    with pytest.raises(TraceError, match="gnn is not on the client's clock"):
        parts_of(sample(100, 52, "gnn"), requests, {})


def test_a_request_that_is_missing_is_named(tmp_path):
    with pytest.raises(TraceError, match="lacks request c1/3/0/gnn"):
        parts_of(sample(100, 52, "gnn"), {}, {})


def test_a_request_that_its_model_did_not_note_is_named(tmp_path):
    times = (110, 112, 120, 121, 150, 155, 158)
    requests = write(tmp_path / "t.json", entry(1, "gnn", times, request_id="c1/3/0/gnn"))
    with pytest.raises(TraceError, match="of gnn noted nothing about request c1/3/0/gnn"):
        parts_of(sample(100, 70, "gnn"), requests, {})


@pytest.mark.parametrize("text", [None, '[{"id": 1, "timest'])
def test_a_missing_or_cut_trace_is_named(tmp_path, text):
    path = tmp_path / "trace.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TraceError, match=str(path)):
        read_trace(path)
