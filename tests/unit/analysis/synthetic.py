"""A synthetic benchmark: made-up times that obey the layout of the real samples."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from exatrkx_service.analysis.timings import COLUMNS, STAGES

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
REQUEST_US = {"serialise": 60, "transfer": 300, "queue": 40, "compute_input": 50, "backend": 80}
AFTER_US = {"compute_output": 45, "server_other": 20, "deserialise": 30}
STEP_US = {"queue": 30, "compute_input": 25, "backend": 60}
STEP_AFTER_US = {"compute_output": 25, "server_other": 10}


def labels_hash(event: int) -> str:
    return hashlib.sha256(f"synthetic labels of event {event}".encode()).hexdigest()


def sample_parts(serve: list[str] | str, scale: float) -> list[tuple[str, str, float]]:
    """The parts of one sample in the order of time: (stage, part, us)."""
    compute = {stage: us * scale for stage, us in COMPUTE_US.items()}
    parts: list[tuple[str, str, float]] = []
    if serve == "ensemble":
        parts += [("ensemble", "serialise", 60), ("ensemble", "transfer", 350)]
        for stage in STAGES:
            parts += [(stage, part, us) for part, us in STEP_US.items()]
            parts.append((stage, "compute_infer", compute[stage]))
            parts += [(stage, part, us) for part, us in STEP_AFTER_US.items()]
        parts += [("ensemble", "server_other", 200), ("ensemble", "deserialise", 30)]
    elif serve == "fused":
        parts += [("pipeline", part, us) for part, us in REQUEST_US.items()]
        parts += [(stage, "compute_infer", compute[stage]) for stage in STAGES]
        parts += [("pipeline", part, us) for part, us in AFTER_US.items()]
    else:
        for stage in STAGES:
            if stage in serve:
                parts += [(stage, part, us) for part, us in REQUEST_US.items()]
                parts.append((stage, "compute_infer", compute[stage]))
                parts += [(stage, part, us) for part, us in AFTER_US.items()]
            else:
                parts.append((stage, "compute", compute[stage]))
    return parts


def make_timings(
    placements=PLACEMENTS, n_events=30, rounds=2, concurrencies=(1, 2, 4), repetitions=2, seed=7
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = rng.gamma(5, 260, n_events).astype(int) + 100
    rows = []
    for option, serve in placements.items():
        for round_ in range(1, rounds + 1):
            for concurrency in concurrencies:
                free = [round_ * 10**12] * concurrency  # when each client is free again [ns]
                wait = max(1.0, concurrency / (2 if serve == [] else 1.3))
                for repetition in range(1, repetitions + 1):
                    for event in range(n_events):
                        client = int(np.argmin(free))
                        noise = rng.lognormal(0, 0.05) * wait
                        start = now = free[client]
                        sample = (option, round_, concurrency, repetition, event, client)
                        size = int(sizes[event])
                        tail = (size, 12 * size, 2 * size, "ok", "")
                        for stage, part, us in sample_parts(serve, size / 1000):
                            duration = int(us * 1000 * noise)
                            rows.append((*sample, stage, part, now, duration, *tail, ""))
                            now += duration
                        total = ("event", "total", start, now - start)
                        rows.append((*sample, *total, *tail, labels_hash(event)))
                        free[client] = now
    return pd.DataFrame(rows, columns=COLUMNS)


def make_reference(timings: pd.DataFrame) -> pd.DataFrame:
    columns = ["event", "n_space_points", "n_edges_built", "n_edges_filtered"]
    reference = timings[columns].drop_duplicates("event").reset_index(drop=True)
    return reference.assign(
        n_tracks=7, labels_sha256=reference.event.map(labels_hash), provenance="tests: synthetic"
    )
