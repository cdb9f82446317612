"""Events small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from exatrkx_service.analysis.cells import INVALID, STABLE
from exatrkx_service.analysis.coverage import COVERAGE_COLUMNS
from exatrkx_service.analysis.physics import physics_table
from exatrkx_service.analysis.summary import SUMMARY_COLUMNS
from exatrkx_service.events.event import Event
from exatrkx_service.tracking import Method, found_edges, to_tracks


def make_particles(**columns) -> pd.DataFrame:
    """Particles of populations A and B; each column given replaces its default."""
    n = len(next(iter(columns.values())))
    defaults = {
        "charge": 1.0,
        "pt": 2.0,
        "eta": 0.5,
        "vr": 0.0,
        "vphi": 0.0,
        "vz": 0.0,
        "from_hnl": False,
        "n_space_points": 5,
    }
    return pd.DataFrame({name: columns.get(name, [value] * n) for name, value in defaults.items()})


def make_event(number: int = 0, sizes=(5, 5), noise: int = 0, **columns) -> Event:
    """Particles with ``sizes`` space points each, one after the other, then ``noise``.

    The points of a particle lie at r = 30, 60, ... mm, phi = its row, z = 10 mm.
    """
    particle = np.concatenate(
        [*(np.full(size, row) for row, size in enumerate(sizes)), np.full(noise, -1)]
    ).astype(np.int64)
    r = np.concatenate([30.0 * (1 + np.arange(size)) for size in (*sizes, noise)])
    points = np.column_stack([r, particle, np.full(len(r), 10.0)]).astype(np.float32)
    columns = {"n_space_points": list(sizes)} | columns
    return Event(number, points, particle, make_particles(**columns))


def make_method(*labels: list[int], edges=None, duration_ns=2_000_000) -> Method:
    """A method that gave these labels on events 0, 1, ...; two steps of one duration each."""
    tracks = [to_tracks(np.array(label), event) for event, label in enumerate(labels)]
    times = [(event, step, duration_ns) for event in range(len(labels)) for step in ("find", "fit")]
    table = pd.DataFrame(times, columns=["event", "step", "duration_ns"])
    return Method(pd.concat(tracks, ignore_index=True), table, edges)


def make_physics() -> pd.DataFrame:
    """Tracking performance of two methods on one event; only one has edges."""
    event = make_event(0, (5, 7), noise=3, from_hnl=[False, True], vr=[0.0, 200.0])
    pairs = np.array([[0, 1, 5], [1, 2, 6]])
    tensors = {"edges": pairs, "filtered_edges": pairs, "edge_scores": np.ones(3)}
    methods = {
        "exatrkx": make_method(
            [0] * 5 + [5] * 7 + [12] * 3, edges=found_edges(event, tensors, 0.5)
        ),
        "CKF": make_method([0] * 5 + [5] * 3 + [-1] * 7),
    }
    return physics_table([event], methods, confidence_level=0.95)


def make_summary(control_ms=20.0, half_ms=0.3, concurrency=1, **costs_ms) -> pd.DataFrame:
    """A summary with the costs of these options, each known to the half-width; None: invalid."""
    rows = [
        {
            "option": option,
            "concurrency": concurrency,
            "mean_ms": control_ms + cost,
            "control_ms": control_ms,
            "slowdown_vs_S0": 1 + cost / control_ms,
            "slowdown_low": 1 + (cost - half_ms) / control_ms,
            "slowdown_high": 1 + (cost + half_ms) / control_ms,
            "throughput_evt_s": 1000 * concurrency / (control_ms + cost),
            "cost_ms": cost,
            "cost_low_ms": cost - half_ms,
            "cost_high_ms": cost + half_ms,
            "verdict": STABLE,
        }
        if cost is not None
        else {"option": option, "concurrency": concurrency, "verdict": INVALID}
        for option, cost in costs_ms.items()
    ]
    return pd.DataFrame(rows).reindex(columns=SUMMARY_COLUMNS)


def make_coverage(costs_ms, half_ms=0.4, concurrency=1) -> pd.DataFrame:
    """Repeats of S0 against itself with these costs, each known to the half-width."""
    rows = [
        {
            "repeat": repeat,
            "concurrency": concurrency,
            "cost_ms": cost,
            "cost_low_ms": cost - half_ms,
            "cost_high_ms": cost + half_ms,
            "holds_zero": abs(cost) <= half_ms,
            "control_ms": 20.0,
            "half_width_share": half_ms / 20.0,
        }
        for repeat, cost in enumerate(costs_ms, start=1)
    ]
    return pd.DataFrame(rows).reindex(columns=COVERAGE_COLUMNS)
