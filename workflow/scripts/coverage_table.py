"""Tells how often the interval of S0's cost against itself holds zero."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    from pathlib import Path

    from exatrkx_service.analysis import figures
    from exatrkx_service.analysis.coverage import coverage_lines, coverage_table
    from exatrkx_service.analysis.timings import read_blocks, read_reference, read_timings
    from exatrkx_service.identity import INPUTS, attributes_of, check_outputs, check_same

    check_outputs([snakemake.input.provenance])
    samples, reference = snakemake.input.samples, snakemake.input.reference
    found, expected = (attributes_of(path).get(INPUTS, {}) for path in (samples, reference))
    check_same(found, expected, samples, reference)
    level = snakemake.params.confidence_level
    table = coverage_table(
        read_timings([samples]),
        read_blocks([snakemake.input.blocks]),
        read_reference(reference),
        confidence_level=level,
        min_blocks=snakemake.params.min_blocks,
    )
    table.to_csv(snakemake.output.table, index=False)
    figure = figures.coverage(table, confidence_level=level)
    figures.save_figure(figure, Path(snakemake.output.png).with_suffix(""))
    for line in coverage_lines(table, level):
        tell(line)
