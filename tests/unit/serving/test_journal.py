"""What a served model notes of each request, and what is read of it."""

from types import SimpleNamespace

import pytest

from exatrkx_service.pipeline.stopwatch import Stopwatch
from exatrkx_service.serving.journal import FOLDER, Journal, cold_processes, read_journals
from exatrkx_service.serving.stage_model import ServedModel


class Doubles(ServedModel):
    """Two stages, with tensors that are plain numbers."""

    inputs, output = ("number",), "number"

    def __init__(self):
        self.model, self.journal = "pipeline", Journal()
        self.exchange = SimpleNamespace(
            take=lambda request, name: request.number,
            respond=lambda name, number: (name, number),
        )

    def compute(self, tensors: dict, watch: Stopwatch) -> None:
        for stage in ("embedding", "gnn"):
            tensors["number"] *= 2
            watch.lap(stage, "compute")


def request(name, number):
    return SimpleNamespace(request_id=lambda: name, number=number)


@pytest.fixture
def model(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return Doubles()


def test_each_request_of_a_call_has_notes_of_its_own(model, tmp_path):
    answers = model.execute([request("a/pipeline", 1), request("b/pipeline", 10)])
    assert answers == [("number", 4), ("number", 40)]
    model.journal.write()
    journals = read_journals(tmp_path)
    own, work = ("pipeline", "convert"), [(s, "compute_infer") for s in ("embedding", "gnn")]
    assert {name: [lap[:2] for lap in laps] for name, laps in journals.items()} == {
        "a/pipeline": [own, *work, own],
        "b/pipeline": [own, *work, own],
    }
    first, second = journals.values()
    for laps in (first, second):
        # Without gaps: from its first to its last the model had the request.
        ends = [lap.start_ns + lap.duration_ns for lap in laps]
        assert [lap.start_ns for lap in laps[1:]] == ends[:-1]
    assert second[0].start_ns >= ends_of(first)


def ends_of(laps):
    return laps[-1].start_ns + laps[-1].duration_ns


def test_a_process_is_cold_until_a_request_of_the_warm_up_reached_it(model, tmp_path):
    model.execute([request("c1/0/0/pipeline", 1)])
    model.journal.write()
    (path,) = tmp_path.glob("*.csv")
    assert cold_processes(tmp_path) == [path.stem]
    model.execute([request("warmup/0/0/pipeline", 1)])
    model.journal.write()
    assert cold_processes(tmp_path) == []


def test_nothing_is_noted_without_a_folder(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    model = Doubles()
    model.execute([request("a", 1)])
    model.journal.write()
    assert model.journal.rows == []
