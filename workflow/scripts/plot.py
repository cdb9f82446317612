"""Draws one figure."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import inspect
    from pathlib import Path

    import pandas as pd

    from exatrkx_service.analysis import figures
    from exatrkx_service.analysis.timings import comparable, read_reference, read_timings

    draw = getattr(figures, snakemake.params.figure)
    wanted = inspect.signature(draw).parameters
    given = {
        name: pd.read_csv(snakemake.input[name])
        for name in ("summary", "breakdown", "cost")
        if name in wanted
    }
    if "timings" in wanted:
        samples = read_timings(snakemake.input.samples)
        given["timings"] = comparable(samples, read_reference(snakemake.input.reference))
    if "confidence_level" in wanted:
        given["confidence_level"] = snakemake.params.confidence_level
    figures.save_figure(draw(**given), Path(snakemake.output.png).with_suffix(""))
