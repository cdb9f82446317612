"""All figures of the benchmark, from made-up samples and the tables of the shipped networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hand_made import make_coverage, make_event, make_summary

from exatrkx_service.analysis import figures
from exatrkx_service.analysis.comparison import changes
from exatrkx_service.tracking import to_tracks

# The study's options, as if each were one of the default ones.
STUDIED = {"S1": "separate_http", "S3": "separate", "S4": "ensemble", "S5": "fused"}


def draw_tables(tables):
    """The figures of the service options."""
    studied = [
        table[table.option.isin(STUDIED)].replace({"option": STUDIED})
        for table in (tables.summary, tables.parts)
    ]
    return {
        "study_ensemble": figures.study_ensemble(*studied),
        "study_batch": figures.study_batch(tables.summary.assign(batch=1)),
        "comparison": figures.comparison(tables.summary, tables.parts),
        "overhead": figures.overhead(tables.parts, tables.cost),
        "latency_vs_concurrency": figures.latency_vs_concurrency(tables.summary),
        "throughput_vs_concurrency": figures.throughput_vs_concurrency(
            tables.summary, tables.blocks
        ),
        "latency_distribution": figures.latency_distribution(tables.shown),
        "time_vs_space_points": figures.time_vs_space_points(tables.shown),
        "ensemble_timeline": figures.ensemble_timeline(tables.shown),
        "resources": figures.resources(tables.summary),
    }


def draw_others(physics, weights):
    """The figures of tracking performance, of the training, and of what is not in every run.

    Args:
        physics: see ``physics.physics_table``.
        weights: folder of trained networks with the tables of their training.
    """
    stages = ("embedding", "filtering", "gnn")
    curves = {stage: pd.read_csv(f"{weights}/{stage}.curve.csv") for stage in stages}
    event = make_event(0, (5, 7), from_hnl=[False, True], vr=[0.0, 200.0])
    event.particles["particle_id"] = ["2|0|1|0|0", "2|1|2|0|0"]
    before, after = make_summary(S0=0, S1=2.0, S2=3.0), make_summary(S0=0.1, S1=5.0, S2=1.0)
    return {
        "changes": figures.changes(changes(before, after)),
        "coverage": figures.coverage(make_coverage([0.1, -0.2, 0.9])),
        "efficiency": figures.efficiency(physics),
        "fake_and_duplicate_rates": figures.fake_and_duplicate_rates(physics),
        "efficiency_vs_time": figures.efficiency_vs_time(physics),
        "event_display": figures.event_display([event], to_tracks(np.zeros(12, dtype=int), 0)),
        "learning_curves": figures.learning_curves(curves),
        "efficiency_vs_cut": figures.efficiency_vs_cut(pd.read_csv(f"{weights}/cuts.csv")),
    }
