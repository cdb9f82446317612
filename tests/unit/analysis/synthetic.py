"""A synthetic benchmark: made-up times that obey the layout of the real samples and blocks."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from exatrkx_service.analysis.timings import BLOCK, BLOCK_COLUMNS, COLUMNS, STAGES, total_rows

PLACEMENTS = {
    "S0": [],
    "S1": ["embedding", "filtering", "gnn"],
    "S2": ["building"],
    "S3": list(STAGES),
    "S4": "ensemble",
    "S5": "fused",
}
# Compute time of each stage [us] for 1,000 space points, and of the parts of a request.
COMPUTE_US = {"embedding": 2000, "building": 4000, "filtering": 20000, "gnn": 6000, "labeling": 600}
TO_SERVER_US = {"serialise": 60, "send": 150, "accept": 20}
STEP_US = {"queue": 40, "compute_input": 50, "hand_over": 70, "convert": 60}
STEP_AFTER_US = {"hand_back": 40, "compute_output": 45}
TO_CLIENT_US = {"answer": 20, "receive": 110, "deserialise": 30}
UNATTRIBUTED_US = 15
N_PARTS = 5  # blocks of one pass over the sample
# What a summary needs besides its data.
SETTINGS = {"confidence_level": 0.95, "precision": 0.03, "min_blocks": 4}


def labels_hash(event: int) -> str:
    return hashlib.sha256(f"synthetic labels of event {event}".encode()).hexdigest()


def sample_parts(serve: list[str] | str, scale: float) -> list[tuple[str, str, float]]:
    """The parts of one sample in the order of time: (stage, part, us)."""
    compute = {stage: us * scale for stage, us in COMPUTE_US.items()}
    parts: list[tuple[str, str, float]] = []
    if serve in ("ensemble", "fused"):
        whole = {"ensemble": "ensemble", "fused": "pipeline"}[serve]
        parts += [(whole, part, us) for part, us in TO_SERVER_US.items()]
        if serve == "ensemble":
            for stage in STAGES:
                parts += _step(stage, {stage: compute[stage]})
            parts.append((whole, "between_steps", 180))
        else:
            parts += _step(whole, compute)
        parts += [(whole, part, us) for part, us in TO_CLIENT_US.items()]
    else:
        for stage in STAGES:
            if stage in serve:
                parts += [(stage, part, us) for part, us in TO_SERVER_US.items()]
                parts += _step(stage, {stage: compute[stage]})
                parts += [(stage, part, us) for part, us in TO_CLIENT_US.items()]
            else:
                parts.append((stage, "compute", compute[stage]))
    return [*parts, ("event", "unattributed", UNATTRIBUTED_US)]


def _step(stage, compute):
    """What one model does: the stages' own work, and what is around it."""
    return [
        *((stage, part, us) for part, us in STEP_US.items()),
        *((name, "compute_infer", us) for name, us in compute.items()),
        *((stage, part, us) for part, us in STEP_AFTER_US.items()),
    ]


def make_timings(
    placements=PLACEMENTS, n_events=30, rounds=2, concurrencies=(1, 2, 4), repetitions=2, seed=7
) -> pd.DataFrame:
    """Samples of both arms: in each block the machine has another speed, the same for both arms."""
    rng = np.random.default_rng(seed)
    sizes = rng.gamma(5, 260, n_events).astype(int) + 100
    passes = _parts_of_a_pass(sizes)
    rows = []
    for option, serve in placements.items():
        for round_ in range(1, rounds + 1):
            for concurrency in concurrencies:
                now = round_ * 10**12
                for block in range(repetitions * len(passes)):
                    repetition, part = divmod(block, len(passes))
                    speed = rng.lognormal(0, 0.03)
                    for arm in rng.permutation(["option", "control"]):
                        head = (option, round_, concurrency, str(arm), block, repetition)
                        arm_serve = serve if arm == "option" else []
                        events = [(int(event), int(sizes[event])) for event in passes[part]]
                        now = _segment(rows, head, arm_serve, events, speed, now, rng)
    return pd.DataFrame(rows, columns=COLUMNS)


def _parts_of_a_pass(sizes):
    """The events in parts of like sizes: dealt out in the order of size, back and forth."""
    parts = min(N_PARTS, len(sizes))
    turn = [*range(parts), *reversed(range(parts))]
    place = [turn[i % len(turn)] for i in range(len(sizes))]
    return [np.argsort(sizes, kind="stable")[np.equal(place, part)] for part in range(parts)]


def _segment(rows, head, serve, events, speed, begin, rng):
    """What one arm sends in a block; gives the time at which it is done [ns]."""
    concurrency = head[2]
    wait = max(1.0, concurrency / (2 if serve == [] else 1.8))
    free = [begin] * concurrency  # when each client is free again [ns]
    for event, size in events:
        client = int(np.argmin(free))
        noise = rng.lognormal(0, 0.015) * wait * speed
        start = now = free[client]
        tail = (size, 12 * size, 2 * size, "ok", "")
        for stage, part, us in sample_parts(serve, size / 1000):
            duration = int(us * 1000 * noise)
            rows.append((*head, event, client, stage, part, now, duration, *tail, ""))
            now += duration
        total = ("event", "total", start, now - start)
        rows.append((*head, event, client, *total, *tail, labels_hash(event)))
        free[client] = now
    return max(free)


def make_blocks(timings: pd.DataFrame) -> pd.DataFrame:
    """The undisturbed blocks of some samples."""
    totals = total_rows(timings)
    totals = totals.assign(
        end_ns=totals.start_ns + totals.duration_ns,
        ok=totals.status == "ok",
        served=(totals.arm == "option") & (totals.option != "S0"),
    )
    blocks = totals.groupby([*BLOCK, "arm"], as_index=False).agg(
        start_ns=("start_ns", "min"),
        end_ns=("end_ns", "max"),
        busy_ns=("duration_ns", "sum"),
        n_in_window=("ok", "sum"),
        n=("ok", "size"),
        served=("served", "first"),
    )
    window_ns = blocks.busy_ns.where(blocks.concurrency == 1, blocks.end_ns - blocks.start_ns)
    busy_ms = blocks.busy_ns / 1e6
    return blocks.assign(
        window_s=window_ns / 1e9,
        n_done=blocks.n_in_window,
        n_failed=blocks.n - blocks.n_in_window,
        client_cpu_ms=busy_ms.where(~blocks.served, 0.2 * busy_ms),
        server_cpu_ms=(0.7 * busy_ms).where(blocks.served, 0.0),
        others=0.02,
        steal=0.0,
        throttled=0.0,
        switches_per_s=12.5,
        mhz=2450.0,
        disturbed="",
    )[BLOCK_COLUMNS]


def make_reference(timings: pd.DataFrame) -> pd.DataFrame:
    columns = ["event", "n_space_points", "n_edges_built", "n_edges_filtered"]
    reference = timings[columns].drop_duplicates("event").reset_index(drop=True)
    return reference.assign(
        n_tracks=7, labels_sha256=reference.event.map(labels_hash), provenance="tests: synthetic"
    )


def make_jobs(timings: pd.DataFrame) -> dict[str, dict]:
    """What the jobs of some samples say of themselves, as far as tables need it."""
    jobs = {}
    for (option, number), rows in timings.groupby(["option", "round"]):
        served = option != "S0"
        cells = [
            {
                "concurrency": int(concurrency),
                "client_pss_mib": 300.0 + (0 if served else 350) + 15 * int(concurrency),
                "server_pss_mib": 1900.0 + 40 * int(number) if served else None,
                "ended_early": "",
            }
            for concurrency in rows.concurrency.unique()
        ]
        affinities = {"client": [0, 1]} | ({"server": [0, 1]} if served else {})
        jobs[f"{option}/round{number}"] = {
            "job": {
                "option": option,
                "round": int(number),
                "cells": cells,
                "limits": {"affinity": [0, 1]},
                "affinities": affinities,
            }
        }
    return jobs
