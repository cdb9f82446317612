"""Draws one figure from the tables, samples and tracks that it needs."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import inspect
    from pathlib import Path

    from exatrkx_service.analysis import figures
    from exatrkx_service.analysis.cells import comparable
    from exatrkx_service.analysis.table import read_summary, read_table
    from exatrkx_service.analysis.timings import kept_blocks, read_blocks, read_timings
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.tracking import read_tracks, read_truth

    draw = getattr(figures, snakemake.params.figure)
    wanted = inspect.signature(draw).parameters
    given = {
        name: read_table(snakemake.input[name])
        for name in ("breakdown", "cost", "physics")
        if name in wanted
    }
    if hasattr(snakemake.input, "summary"):
        summary = read_summary(snakemake.input.summary)
        given |= {"summary": summary} if "summary" in wanted else {}
    if {"timings", "blocks"} & set(wanted):
        blocks, min_blocks = read_blocks(snakemake.input.blocks), snakemake.params.min_blocks
    if "timings" in wanted:
        samples = read_timings(snakemake.input.samples)
        given["timings"] = comparable(samples, blocks, summary, min_blocks)
    if "blocks" in wanted:
        given["blocks"] = kept_blocks(blocks, min_blocks)
    if "truth" in wanted:
        given["truth"] = read_truth(read_manifests(snakemake.input.events))
        given["tracks"] = read_tracks(snakemake.input.tracks)
    if "confidence_level" in wanted:
        given["confidence_level"] = snakemake.params.confidence_level
    figure = draw(**given)
    if hasattr(snakemake.input, "summary"):
        figures.name_cells(figure, summary)
    figures.save_figure(figure, Path(snakemake.output.png).with_suffix(""))
