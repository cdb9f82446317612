"""Compares this run with another one: tables, a figure, and the differences on the terminal."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    from pathlib import Path

    from exatrkx_service.analysis import figures
    from exatrkx_service.analysis.comparison import (
        changes,
        comparison_lines,
        provenance_differences,
        read_run,
    )

    baseline, here = (
        read_run(Path(path).parent)
        for path in (snakemake.input.baseline_summary, snakemake.input.summary)
    )
    table = changes(baseline[0], here[0])
    differences = provenance_differences(baseline[1], here[1])
    table.to_csv(snakemake.output.changes, index=False)
    differences.to_csv(snakemake.output.provenance, index=False)
    figure = figures.changes(table)
    figures.save_figure(figure, Path(snakemake.output.png).with_suffix(""))
    for line in comparison_lines(table, differences):
        tell(line)
