"""Draws figures, each from the tables, samples and tracks that it needs."""

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

    files, params = snakemake.input, snakemake.params
    given = {"confidence_level": params.confidence_level}
    given |= {
        name: read_table(files[name])
        for name in ("breakdown", "cost", "physics", "batches")
        if hasattr(files, name)
    }
    if hasattr(files, "summary"):
        summary, blocks = read_summary(files.summary), read_blocks(files.blocks)
        given["summary"] = summary
        samples = read_timings(files.samples)
        given["timings"] = comparable(samples, blocks, summary, params.min_blocks)
        given["blocks"] = kept_blocks(blocks, params.min_blocks)
    if hasattr(files, "tracks"):
        given["truth"] = read_truth(read_manifests(files.events))
        given["tracks"] = read_tracks(files.tracks)
    for name, path in snakemake.output.items():
        if path.endswith(".png"):
            draw = getattr(figures, name)
            wanted = inspect.signature(draw).parameters
            figure = draw(**{key: value for key, value in given.items() if key in wanted})
            if "summary" in given:
                # The study has no report.
                reasons = f"{name}/summary.csv" if name == "study_ensemble" else "the report"
                shown = given["summary"]
                if name in figures.FEWEST_CLIENTS:
                    shown = figures.fewest_clients(shown)
                figures.name_cells(figure, shown, reasons)
            figures.save_figure(figure, Path(path).with_suffix(""))
