"""Figures of the benchmark; each function takes tables and returns a matplotlib figure."""

from exatrkx_service.analysis.figures.cost import comparison, overhead
from exatrkx_service.analysis.figures.scaling import (
    latency_distribution,
    latency_vs_concurrency,
    throughput_vs_concurrency,
    time_vs_space_points,
)
from exatrkx_service.analysis.figures.style import save_figure
from exatrkx_service.analysis.figures.timeline import ensemble_timeline

__all__ = [
    "comparison",
    "ensemble_timeline",
    "latency_distribution",
    "latency_vs_concurrency",
    "overhead",
    "save_figure",
    "throughput_vs_concurrency",
    "time_vs_space_points",
]
