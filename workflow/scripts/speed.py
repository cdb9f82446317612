"""Times this build against another checkout's; see exatrkx_service.measure.speed."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    from pathlib import Path

    from exatrkx_service.events.manifest import read_sample
    from exatrkx_service.measure.speed import compare_builds, speed_table

    params = snakemake.params
    rows = compare_builds(
        Path(params.against),
        read_sample(snakemake.input.events),
        params.options,
        params.repetitions,
        tell,
    )
    rows.to_parquet(snakemake.output.samples, index=False)
    table = speed_table(rows, params.confidence_level)
    table.to_csv(snakemake.output.table, index=False, float_format="%.4g")
    tell(table.to_string(index=False, float_format=lambda number: f"{number:.3f}"))
