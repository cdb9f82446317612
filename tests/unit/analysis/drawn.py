"""All figures of the benchmark, from made-up samples and the tables of the shipped networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hand_made import make_event
from synthetic import make_reference

from exatrkx_service.analysis import figures
from exatrkx_service.analysis.summary import breakdown, cost_vs_s0, summarise
from exatrkx_service.tracking import to_tracks

BOOTSTRAP = {"confidence_level": 0.95, "resamples": 100, "seed": 1}


def draw_timings(timings):
    """The figures of the service options."""
    reference = make_reference(timings)
    summary = summarise(timings, reference, **BOOTSTRAP)
    parts = breakdown(timings, reference, **BOOTSTRAP)
    cost = cost_vs_s0(timings, reference, **BOOTSTRAP)
    return {
        "comparison": figures.comparison(summary, parts, cost),
        "overhead": figures.overhead(parts),
        "latency_vs_concurrency": figures.latency_vs_concurrency(summary),
        "throughput_vs_concurrency": figures.throughput_vs_concurrency(timings),
        "latency_distribution": figures.latency_distribution(timings),
        "time_vs_space_points": figures.time_vs_space_points(timings),
        "ensemble_timeline": figures.ensemble_timeline(timings),
    }


def draw_others(physics, weights):
    """The figures of tracking performance and of the training.

    Args:
        physics: see ``physics.physics_table``.
        weights: folder of trained networks with the tables of their training.
    """
    stages = ("embedding", "filtering", "gnn")
    curves = {stage: pd.read_csv(f"{weights}/{stage}.curve.csv") for stage in stages}
    event = make_event(0, (5, 7), from_hnl=[False, True], vr=[0.0, 200.0])
    event.particles["particle_id"] = ["2|0|1|0|0", "2|1|2|0|0"]
    return {
        "efficiency": figures.efficiency(physics),
        "fake_and_duplicate_rates": figures.fake_and_duplicate_rates(physics),
        "efficiency_vs_time": figures.efficiency_vs_time(physics),
        "event_display": figures.event_display([event], to_tracks(np.zeros(12, dtype=int), 0)),
        "learning_curves": figures.learning_curves(curves),
        "efficiency_vs_cut": figures.efficiency_vs_cut(pd.read_csv(f"{weights}/cuts.csv")),
    }
