"""Figures of the benchmark; each function takes tables and returns a matplotlib figure."""

import os

# Figures go to files alone; a backend of the user's that isn't here would keep matplotlib from
# being imported.
os.environ["MPLBACKEND"] = "agg"

from exatrkx_service.analysis.figures.batches import study_batch
from exatrkx_service.analysis.figures.capacity import latency_vs_rate
from exatrkx_service.analysis.figures.changes import changes
from exatrkx_service.analysis.figures.cost import comparison, overhead
from exatrkx_service.analysis.figures.coverage import coverage
from exatrkx_service.analysis.figures.display import event_display
from exatrkx_service.analysis.figures.resources import resources
from exatrkx_service.analysis.figures.scaling import (
    latency_distribution,
    latency_vs_concurrency,
    throughput_vs_concurrency,
    time_vs_space_points,
)
from exatrkx_service.analysis.figures.study import study_ensemble
from exatrkx_service.analysis.figures.style import fewest_clients, name_cells, save_figure
from exatrkx_service.analysis.figures.timeline import ensemble_timeline
from exatrkx_service.analysis.figures.tracking import (
    efficiency,
    efficiency_vs_time,
    fake_and_duplicate_rates,
)
from exatrkx_service.analysis.figures.training import efficiency_vs_cut, learning_curves

# Figures that show, of all options, the cells with the fewest clients alone.
FEWEST_CLIENTS = ("comparison", "overhead", "latency_distribution", "time_vs_space_points")

__all__ = [
    "FEWEST_CLIENTS",
    "changes",
    "comparison",
    "coverage",
    "efficiency",
    "efficiency_vs_cut",
    "efficiency_vs_time",
    "ensemble_timeline",
    "event_display",
    "fake_and_duplicate_rates",
    "fewest_clients",
    "latency_distribution",
    "latency_vs_concurrency",
    "latency_vs_rate",
    "learning_curves",
    "name_cells",
    "overhead",
    "resources",
    "save_figure",
    "study_batch",
    "study_ensemble",
    "throughput_vs_concurrency",
    "time_vs_space_points",
]
