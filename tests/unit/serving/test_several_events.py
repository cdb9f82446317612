"""Several events in one request: every option finds the tracks that it finds one by one."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from real_server import MARKS
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import Client
from exatrkx_service.events.event import EventBatch
from exatrkx_service.measure.statistics import EXECUTIONS, read_counts
from exatrkx_service.measure.trace import read_trace
from exatrkx_service.models.export import WEIGHTS, export_all, read_check_events
from exatrkx_service.options import ENSEMBLE, FUSED, STAGES, Option
from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.serving.journal import read_journals
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.native import CHOICE, choose_backend

pytestmark = MARKS
EMPTY = np.empty((0, 3), np.float32)


def one_by_one(pipeline, events):
    """Labels of events that were found one after the other, as those of a batch."""
    found, start = [], 0
    for points in events:
        labels = pipeline(points)["labels"]
        found.append(np.where(labels < 0, -1, labels + start))
        start += len(points)
    return np.concatenate(found)


@pytest.mark.parametrize("backend", ["auto", "python"])
def test_every_option_finds_the_tracks_of_each_event(
    repository, settings, config, tmp_path, backend
):
    pipeline = config["pipeline"]
    choose_backend(repository / CHOICE, backend)
    export_all(WEIGHTS, repository, pipeline)
    events = read_check_events()
    # The same event twice would be joined if edges crossed events: its points lie in one place.
    batches = [
        [*events, events[0], EMPTY, events[0]],
        [EMPTY, EMPTY],
        [events[1]],
    ]
    alone = local_pipeline(repository, pipeline)
    expected = [one_by_one(alone, batch) for batch in batches]
    assert len(np.unique(expected[0])) > 10
    for batch, labels in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(alone(EventBatch.of(batch))["labels"], labels)
    options = [
        Option.from_config("S2", {"serve": ["building"]}),
        Option.from_config("S3", {"serve": list(STAGES)}),
        Option.from_config("S4", {"serve": "ensemble"}),
        Option.from_config("S5", {"serve": "fused"}),
    ]
    arguments = (repository, (*STAGES, ENSEMBLE, FUSED), tmp_path / "w", settings, pipeline)
    with launch(*arguments) as server:
        for protocol in ("grpc", "http"):
            client = Client(server.url(protocol), protocol, 60)
            for option in options:
                found = Placement(option, repository, dict(pipeline)).pipeline(client)
                for batch, labels in zip(batches, expected, strict=True):
                    np.testing.assert_array_equal(found(EventBatch.of(batch))["labels"], labels)
                wrong = EventBatch(events[0], np.array([1, 2]))
                with pytest.raises(InferenceServerException, match="event_sizes"):
                    found(wrong)
                # ... and the server goes on.
                np.testing.assert_array_equal(
                    found(events[0])["labels"], alone(events[0])["labels"]
                )
            client.close()


def test_requests_that_wait_are_joined(repository, settings, config, tmp_path):
    pipeline = config["pipeline"]
    choose_backend(repository / CHOICE, "auto")
    export_all(WEIGHTS, repository, pipeline)
    events = read_check_events()
    alone = local_pipeline(repository, pipeline)
    sent = [events[0], EventBatch.of([events[1], EMPTY, events[0]]), EMPTY, events[1]]
    expected = [
        one_by_one(alone, points.events() if isinstance(points, EventBatch) else [points])
        for points in sent
    ]
    batching = {"max_batch_size": 4, "max_queue_delay_us": 500_000}
    settings |= {"dynamic_batching": batching}
    option = Option.from_config("S5", {"serve": "fused"}, settings)
    wrong = EventBatch(events[0], np.array([1, 2]))
    pool = ThreadPoolExecutor(4)
    with launch(repository, (FUSED,), tmp_path / "w", settings, pipeline) as server, pool:
        placement = Placement(option, repository, dict(pipeline))

        def ask(number, points, request_id):
            protocol = ("grpc", "http")[number % 2]
            client = Client(server.url(protocol), protocol, 60)
            with contextlib.closing(client):
                found = placement.pipeline(client)(points, request_id=request_id)
            return found["labels"]

        def ask_all(name):
            jobs = [pool.submit(ask, *pair, f"{name}/{pair[0]}") for pair in enumerate(sent)]
            for job, labels in zip(jobs, expected, strict=True):
                np.testing.assert_array_equal(job.result(), labels)

        for number in range(3):
            ask_all(number)
        counts = read_counts(server, [FUSED])[FUSED]
        assert counts["success"][0] == 12 and counts[EXECUTIONS][0] < 12
        # One that is wrong fails alone.
        sent[2] = wrong
        jobs = [pool.submit(ask, *pair, "wrong") for pair in enumerate(sent)]
        with pytest.raises(InferenceServerException, match=r"event_sizes.* space points"):
            jobs[2].result()
        for job, labels in list(zip(jobs, expected, strict=True))[:2]:
            np.testing.assert_array_equal(job.result(), labels)
        rows = np.stack([events[0], events[0]])
        with grpcclient.InferenceServerClient(server.grpc_url) as client:
            given = grpcclient.InferInput("space_points", rows.shape, "FP32")
            given.set_data_from_numpy(rows)
            with pytest.raises(InferenceServerException, match="expected 1 in front"):
                client.infer(FUSED, [given])
    requests, notes = read_trace(server.trace), read_journals(server.journals)
    # Each has the times of what it waited for.
    for number in range(4):
        name = f"0/{number}/pipeline"
        stages = [lap.stage for lap in requests[name].parts("pipeline", notes[name])]
        assert set(STAGES) < set(stages)


def test_a_batch_gives_its_events_back():
    events = [np.full((n, 3), n, np.float32) for n in (2, 0, 3)]
    batch = EventBatch.of(events)
    assert len(batch) == 5
    for given, back in zip(events, batch.events(), strict=True):
        np.testing.assert_array_equal(given, back)
    assert all(a is not b for a, b in pairwise(batch.events()))
