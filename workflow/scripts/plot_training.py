"""Draws the figures of the training."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    import pandas as pd

    from exatrkx_service.analysis.figures import efficiency_vs_cut, learning_curves, save_figure

    curves = dict(zip(snakemake.params.stages, snakemake.input.curves, strict=True))
    figures = {
        "learning_curves": learning_curves({k: pd.read_csv(v) for k, v in curves.items()}),
        "efficiency_vs_cut": efficiency_vs_cut(pd.read_csv(snakemake.input.scan)),
    }
    for name, figure in figures.items():
        save_figure(figure, Path(snakemake.output[name]).with_suffix(""))
