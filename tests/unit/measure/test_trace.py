import json

import pytest

from exatrkx_service.measure.load import Sample
from exatrkx_service.measure.rows import parts_of, unattributed
from exatrkx_service.measure.trace import TraceError, read_trace
from exatrkx_service.options import STAGES
from exatrkx_service.pipeline.stopwatch import Lap

CORE = ("REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END")
CORE += ("COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END")  # also of a step of an ensemble
DONE = "INFER_RESPONSE_COMPLETE"
GRPC = ("GRPC_WAITREAD_START", "GRPC_WAITREAD_END", "GRPC_SEND_START", "GRPC_SEND_END")
HTTP = ("HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END")
# One request of the model gnn [ns]; the client sends it at 100 and has the answer at 200. The
# backend closes its books, at 185 and 188, when the answer is on its way.
CORE_NS = (115, 117, 120, 121, 160, 185, 188)
LAYER_NS = {GRPC: (40, 110, 170, 190), HTTP: (105, 110, 170, 190)}
NOTES = [Lap("gnn", "convert", 123, 2), Lap("gnn", "compute_infer", 125, 20)]
NOTES += [Lap("gnn", "convert", 145, 4)]
# Each part of it, between two stamps; 115 to 117 is in none.
PARTS = {
    "serialise": 10,
    "send": 10,
    "accept": 5,
    "queue": 3,
    "compute_input": 1,
    "hand_over": 2,
    "convert": 6,
    "compute_infer": 20,
    "hand_back": 11,
    "compute_output": 6,
    "answer": 4,
    "receive": 30,
}


def entry(number, model, stamps, **extra):
    """An entry of a trace; Triton writes several for each request."""
    stamps = [{"name": name, "ns": ns} for name, ns in stamps.items()]
    return {"id": number, "model_name": model, "timestamps": stamps, **extra}


def stamps(times, *, done=None, layer=None, layer_ns=None):
    """Time stamps of a request, and of its response and its way over the network if given."""
    every = dict(zip(CORE, times, strict=True)) | ({DONE: done} if done else {})
    if layer:
        every |= dict(zip(layer, layer_ns or LAYER_NS[layer], strict=True))
    return every


def write(folder, *entries):
    path = folder / "trace.json"
    path.write_text(json.dumps(entries))
    return read_trace(path)


def gnn(folder, layer=GRPC, **changes):
    """The trace of the one request, with changed stamps; those that are None are left out."""
    every = stamps(CORE_NS, done=166, layer=layer) | changes
    every = {name: ns for name, ns in every.items() if ns is not None}
    return write(folder, entry(1, "gnn", every, request_id="c1/3/0/gnn"))


def sample(start, duration, stage):
    laps = [Lap(stage, "serialise", start - 10, 10), Lap(stage, "request", start, duration)]
    return Sample("option", 3, 0, 0, "c1/3/0", start - 10, duration + 10, laps=laps)


def noted(**models):
    """Notes of models of one stage: when it computed, and a conversion of 1 before and after."""
    notes = []
    for model, (start, duration) in models.items():
        notes += [Lap(model, "convert", start - 1, 1), Lap(model, "compute_infer", start, duration)]
        notes.append(Lap(model, "convert", start + duration, 1))
    return notes


def as_dict(parts):
    found = {(lap.stage, lap.part): lap.duration_ns for lap in parts}
    assert len(found) == len(parts), "a part occurs twice"
    return found


@pytest.mark.parametrize("layer", [GRPC, HTTP])
def test_a_request_is_cut_by_the_stamps_of_both_sides(tmp_path, layer):
    journals = {"c1/3/0/gnn": NOTES}
    parts = parts_of(sample(100, 100, "gnn"), gnn(tmp_path, layer), journals)
    expected = {("gnn", part): ns for part, ns in PARTS.items()}
    assert as_dict(parts) == expected | {("event", "unattributed"): 2}
    starts = {lap.part: lap.start_ns for lap in parts}
    assert starts["hand_over"] == 121 and starts["convert"] == 123 and starts["receive"] == 170


@pytest.mark.parametrize(
    ("name", "part", "ns"),
    [
        ("GRPC_WAITREAD_END", {"send", "accept"}, 15),
        ("COMPUTE_START", {"queue", "compute_input"}, 4),
        ("INFER_RESPONSE_COMPLETE", {"compute_output", "answer"}, 10),
        ("GRPC_SEND_START", {"answer", "receive"}, 34),
    ],
)
def test_what_lies_beside_a_missing_stamp_is_in_no_part(tmp_path, name, part, ns):
    requests = gnn(tmp_path, **{name: None})
    parts = as_dict(parts_of(sample(100, 100, "gnn"), requests, {"c1/3/0/gnn": NOTES}))
    assert part.isdisjoint({part for _, part in parts})
    assert parts["event", "unattributed"] == 2 + ns


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"COMPUTE_START": 116}, "gnn: queue ends 1 ns before it begins"),
        ({"COMPUTE_INPUT_END": 124}, "gnn: hand_over ends 1 ns before it begins"),
        ({"COMPUTE_OUTPUT_START": 148}, "gnn: hand_back ends 1 ns before it begins"),
        ({"GRPC_SEND_START": 164}, "gnn: answer ends 2 ns before it begins"),
        ({"GRPC_SEND_START": 201}, "gnn is not on the client's clock"),
        ({"GRPC_WAITREAD_END": 99}, "gnn is not on the client's clock"),
    ],
)
def test_stamps_out_of_order_are_refused(tmp_path, changes, message):
    requests = gnn(tmp_path, **changes)
    with pytest.raises(TraceError, match=f"request c1/3/0/gnn: .*{message}"):
        parts_of(sample(100, 100, "gnn"), requests, {"c1/3/0/gnn": NOTES})


def test_parts_that_overlap_are_refused(tmp_path):
    again = [Lap("gnn", "compute_infer", 124, 25)]  # as if the model had noted it twice
    with pytest.raises(TraceError, match="event c1/3/0: its parts take 23 ns more than it took"):
        parts_of(sample(100, 100, "gnn"), gnn(tmp_path), {"c1/3/0/gnn": NOTES + again})


def test_requests_of_one_call_of_a_model_wait_for_each_other(tmp_path):
    """Both came at 121 and went at 160; the model had the one to 149 and then the other."""
    second = [Lap("gnn", "convert", 149, 1), Lap("gnn", "compute_infer", 150, 5)]
    requests, event = gnn(tmp_path), sample(100, 100, "gnn")
    parts = [as_dict(parts_of(event, requests, {"c1/3/0/gnn": n})) for n in (NOTES, second)]
    assert [part["gnn", "hand_over"] for part in parts] == [2, 28]
    assert [part["gnn", "hand_back"] for part in parts] == [11, 5]


def test_the_servers_own_backend_takes_no_notes(tmp_path):
    event = sample(100, 100, "gnn")
    parts = as_dict(parts_of(event, gnn(tmp_path), {}, native=("gnn",)))
    assert parts["gnn", "compute_infer"] == 160 - 121
    assert not {"hand_over", "convert", "hand_back"} & {part for _, part in parts}
    assert parts["event", "unattributed"] == 2


def test_with_another_clock_each_way_is_half_of_both(tmp_path):
    ahead = 10**9
    every = stamps(CORE_NS, done=166, layer=GRPC)
    every = {name: ns + ahead for name, ns in every.items()}
    requests = write(tmp_path, entry(1, "gnn", every, request_id="c1/3/0/gnn"))
    notes = [lap._replace(start_ns=lap.start_ns + ahead) for lap in NOTES]
    event = sample(100, 100, "gnn")
    parts = parts_of(event, requests, {"c1/3/0/gnn": notes}, same_clock=False)
    expected = {("gnn", part): ns for part, ns in (PARTS | {"send": 20, "receive": 20}).items()}
    assert as_dict(parts) == expected | {("event", "unattributed"): 2}
    with pytest.raises(TraceError, match="is not on the client's clock"):
        parts_of(event, requests, {"c1/3/0/gnn": notes})
    with pytest.raises(TraceError, match="the server had gnn 10 ns longer than the client"):
        parts_of(sample(100, 50, "gnn"), requests, {"c1/3/0/gnn": notes}, same_clock=False)


def ensemble(folder):
    names = ("REQUEST_START", "QUEUE_START", DONE, "REQUEST_END", *GRPC)
    times = dict(zip(names, (110, 111, 178, 190, 5, 105, 180, 185), strict=True))
    return write(
        folder,
        entry(1, "exatrkx", times, request_id="c1/3/0/ensemble"),
        # A step's books are closed (135) after the next has begun (130); the last one's before.
        entry(2, "embedding", stamps((112, 113, 115, 116, 125, 135, 136)), parent_id=1),
        entry(3, "building", stamps((130, 131, 140, 141, 170, 175, 180)), parent_id=1),
    )


def test_the_steps_of_an_ensemble_are_booked_under_their_stages(tmp_path):
    journals = {"c1/3/0/ensemble": noted(building=(150, 18), embedding=(118, 5))}
    parts = as_dict(parts_of(sample(100, 100, "ensemble"), ensemble(tmp_path), journals))
    assert parts == {
        ("ensemble", "serialise"): 10,
        ("ensemble", "send"): 5,
        ("ensemble", "accept"): 5,
        ("ensemble", "between_steps"): 2 + 0 + 3,  # 110 to 112, and 175 to 178
        ("embedding", "queue"): 2,
        ("embedding", "compute_input"): 1,
        ("embedding", "hand_over"): 1,
        ("embedding", "convert"): 2,
        ("embedding", "compute_infer"): 5,
        ("embedding", "hand_back"): 1,
        ("embedding", "compute_output"): 5,  # up to 130
        ("building", "queue"): 9,
        ("building", "compute_input"): 1,
        ("building", "hand_over"): 8,
        ("building", "convert"): 2,
        ("building", "compute_infer"): 18,
        ("building", "hand_back"): 1,
        ("building", "compute_output"): 5,
        ("ensemble", "answer"): 2,
        ("ensemble", "receive"): 20,
        ("event", "unattributed"): 1 + 1,  # from each step's REQUEST_START to its QUEUE_START
    }


def test_the_fused_model_has_five_stages_and_one_exchange(tmp_path):
    requests = write(
        tmp_path,
        entry(
            1,
            "pipeline",
            stamps((110, 112, 120, 121, 200, 205, 208), done=202, layer=GRPC)
            | dict(zip(GRPC, (0, 105, 203, 210), strict=True)),
            request_id="c1/3/0/pipeline",
        ),
    )
    stages = {stage: (125 + 10 * i, 10) for i, stage in enumerate(STAGES)}
    notes = [Lap("pipeline", "convert", 123, 2), Lap("pipeline", "convert", 175, 5)]
    notes += [Lap(stage, "compute_infer", *times) for stage, times in stages.items()]
    parts = parts_of(sample(100, 120, "pipeline"), requests, {"c1/3/0/pipeline": notes})
    assert {lap.stage: (lap.start_ns, 10) for lap in parts if lap.part == "compute_infer"} == stages
    found = as_dict(parts)
    assert found["pipeline", "hand_over"] == 2 and found["pipeline", "hand_back"] == 20
    assert found["pipeline", "convert"] == 7 and found["event", "unattributed"] == 2


def test_a_request_without_a_trace_is_one_part():
    parts = as_dict(parts_of(sample(100, 70, "gnn"), None, {}))
    rest = {("event", "unattributed"): 0}
    assert parts == {("gnn", "serialise"): 10, ("gnn", "request"): 70} | rest


def test_what_the_client_did_between_its_laps_is_in_no_part():
    event = sample(100, 70, "gnn")
    event.duration_ns += 5
    assert as_dict(parts_of(event, None, {}))["event", "unattributed"] == 5
    assert unattributed(10, event.laps) == 10 - 80


def test_a_failed_event_has_no_parts():
    assert parts_of(Sample("option", 3, 0, 0, "c1/3/0", 100, 70, error="lost"), {}, {}) == []


def test_a_request_that_is_missing_is_named():
    with pytest.raises(TraceError, match="lacks request c1/3/0/gnn"):
        parts_of(sample(100, 52, "gnn"), {}, {})


def test_a_request_without_stamps_is_named(tmp_path):
    requests = write(tmp_path, entry(1, "gnn", {}, request_id="c1/3/0/gnn"))
    with pytest.raises(TraceError, match="c1/3/0/gnn: the server's trace of gnn has no time stamp"):
        parts_of(sample(100, 52, "gnn"), requests, {})


def test_a_request_that_its_model_did_not_note_is_named(tmp_path):
    with pytest.raises(TraceError, match="request c1/3/0/gnn: the model of gnn noted nothing"):
        parts_of(sample(100, 100, "gnn"), gnn(tmp_path), {})


@pytest.mark.parametrize("text", [None, '[{"id": 1, "timest'])
def test_a_missing_or_cut_trace_is_named(tmp_path, text):
    path = tmp_path / "trace.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TraceError, match=str(path)):
        read_trace(path)
