"""Draws the figures of the training."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.analysis.figures import efficiency_vs_cut, learning_curves, save_figure
    from exatrkx_service.analysis.table import read_table

    curves = dict(zip(snakemake.params.stages, snakemake.input.curves, strict=True))
    figures = {
        "learning_curves": learning_curves({k: read_table(v) for k, v in curves.items()}),
        "efficiency_vs_cut": efficiency_vs_cut(read_table(snakemake.input.scan)),
    }
    for name, figure in figures.items():
        save_figure(figure, Path(snakemake.output[name]).with_suffix(""))
