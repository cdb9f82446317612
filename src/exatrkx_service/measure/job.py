"""One measurement: one service option, one round, with a server of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.client.placement import Placement
from exatrkx_service.client.remote import Client
from exatrkx_service.measure.load import pick_warmup, run_load
from exatrkx_service.measure.rows import tidy
from exatrkx_service.measure.statistics import means_between, read_counts
from exatrkx_service.measure.trace import Request, read_trace
from exatrkx_service.options import Option
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.pipeline import Pipeline
from exatrkx_service.pipeline.stopwatch import Lap
from exatrkx_service.serving.journal import read_journals
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.other_node import launch_on_other_node
from exatrkx_service.serving.server import Server

LOCKS = Path("/tmp")  # of this machine; TMPDIR may be a folder that many machines see


@contextlib.contextmanager
def only_measurement(say: Callable[[str], None]) -> Iterator[None]:
    """Keeps other measurements of this user on this machine waiting for as long as it lasts."""
    path = LOCKS / f"exatrkx-service-{os.getuid()}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another measurement on this machine to end ({path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measure(
    option: Option,
    round_number: int,
    events: Mapping[int, np.ndarray],
    sizes: pd.DataFrame,
    model_repository: Path,
    config: Mapping[str, Any],
    work: Path,
    say: Callable[[str], None] = print,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Times one option over the grid of concurrencies.

    Args:
        option: the service option.
        round_number: from 1; also seeds the order of the events.
        events: space points by event number.
        sizes: see ``rows.tidy``.
        model_repository: the tracked model repository, with the exported networks.
        config: the sections ``pipeline``, ``server`` and ``measure`` of the configuration.
        work: an empty folder for the server's files.
        say: gets one line per step.

    Returns:
        The tidy rows, and what to know about the job: server version, times spent.

    Raises:
        ServerError: the server did not start, or died.
        InferenceServerException: a warm-up request failed.
    """
    pipeline, settings, plan = config["pipeline"], config["server"], config["measure"]
    devices.settle(pipeline["threads"])
    samples = {}
    facts: dict[str, Any] = {"option": option.name, "round": round_number, "server": None}
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_measurement(say))
        begin = time.monotonic()
        facts["began"] = datetime.now(UTC).isoformat(timespec="seconds")
        facts["load_average"] = os.getloadavg()[0]
        facts["device"] = devices.resolve(pipeline["device"])
        server: Server | None = None
        if option.needs_server:
            say(f"starting a server with {', '.join(option.models)}")
            start = launch_on_other_node if settings["node"] == "other" else launch
            server = stack.enter_context(
                start(model_repository, option.models, work, settings, pipeline)
            )
            facts["server"] = server.version
        placement = Placement(option, model_repository, dict(pipeline))
        facts["start_s"] = time.monotonic() - begin

        def make_pipeline() -> tuple[Pipeline, Callable[[], None]]:
            if server is None:
                return placement.pipeline(None), lambda: None
            url = server.grpc_url if settings["protocol"] == "grpc" else server.http_url
            client = Client(url, settings["protocol"], plan["request_timeout_s"], server.token)
            return placement.pipeline(client), client.close

        check = server.check_alive if server else lambda: None
        warmup = pick_warmup(events, plan["warmup_events"])
        _warm_up(make_pipeline, warmup)
        facts["warmup_s"] = time.monotonic() - begin - facts["start_s"]
        timed = 0.0
        untraced = server is not None and server.trace is None
        for concurrency in plan["concurrency"]:
            before = read_counts(server, option.models) if untraced else {}
            samples[concurrency] = done = run_load(
                make_pipeline,
                events,
                first=max(warmup.values(), key=len),
                concurrency=concurrency,
                repetitions=plan["repetitions"],
                seed=round_number * 1000 + concurrency,
                tag=f"c{concurrency}",
                check=check,
            )
            if untraced:
                after = read_counts(server, option.models)
                facts.setdefault("statistics", []).extend(means_between(before, after, concurrency))
            end_ns = max(sample.start_ns + sample.duration_ns for sample in done)
            window = (end_ns - min(sample.start_ns for sample in done)) / 1e9
            timed += window
            failed = sum(bool(sample.error) for sample in done)
            say(f"concurrency {concurrency}: {len(done)} events in {window:.1f} s, {failed} failed")
        facts["timed_s"] = timed
        if server:
            server.check_alive()
    requests: dict[str, Request] | None = {}
    journals: dict[str, list[Lap]] = {}
    if server and server.trace:
        requests, journals = read_trace(server.trace), read_journals(server.journals)
    elif server:
        requests = None
        say("the server's trace can't be had: requests are not divided; see its statistics")
    rows = tidy(
        samples,
        requests,
        journals,
        sizes,
        option=option.name,
        round_number=round_number,
        same_clock=server.same_clock if server else True,
        native=server.native if server else (),
    )
    facts["wall_s"] = time.monotonic() - begin
    return rows, facts


def _warm_up(
    make_pipeline: Callable[[], tuple[Pipeline, Callable[[], None]]],
    events: Mapping[int, np.ndarray],
) -> None:
    """Sends events of all sizes, twice; an error is raised, not recorded."""
    pipeline, close = make_pipeline()
    try:
        for sweep in range(2):
            for event, space_points in events.items():
                pipeline(space_points, request_id=f"warmup/{sweep}/{event}")
    finally:
        close()
