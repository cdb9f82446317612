"""Draws one figure."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import inspect
    from pathlib import Path

    import pandas as pd

    from exatrkx_service.analysis import figures
    from exatrkx_service.analysis.timings import comparable, read_reference, read_timings
    from exatrkx_service.analysis.verdicts import INVALID, cells_of
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.tracking import read_tracks, read_truth

    draw = getattr(figures, snakemake.params.figure)
    wanted = inspect.signature(draw).parameters
    given = {
        name: pd.read_csv(snakemake.input[name])
        for name in ("summary", "breakdown", "cost", "physics")
        if name in wanted
    }
    if "timings" in wanted:
        samples = read_timings(snakemake.input.samples)
        given["timings"] = comparable(samples, read_reference(snakemake.input.reference))
    if "truth" in wanted:
        given["truth"] = read_truth(read_manifests(snakemake.input.events))
        given["tracks"] = read_tracks(snakemake.input.tracks)
    if "confidence_level" in wanted:
        given["confidence_level"] = snakemake.params.confidence_level
    figure = draw(**given)
    if hasattr(snakemake.input, "summary"):
        figures.name_invalid(figure, cells_of(pd.read_csv(snakemake.input.summary), INVALID))
    figures.save_figure(figure, Path(snakemake.output.png).with_suffix(""))
