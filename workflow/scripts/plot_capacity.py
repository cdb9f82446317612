"""Draws the latency of each option against the rate of requests."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.analysis import figures
    from exatrkx_service.analysis.capacity import read_capacity, read_rates

    figure = figures.latency_vs_rate(
        read_capacity(snakemake.input.capacity), read_rates(snakemake.input.rates)
    )
    figures.save_figure(figure, Path(snakemake.output.png).with_suffix(""))
