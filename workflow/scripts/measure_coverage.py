"""Measures S0 against itself again and again; see exatrkx_service.measure.coverage."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    from pathlib import Path

    import pandas as pd

    from exatrkx_service.events.manifest import read_sample
    from exatrkx_service.identity import INPUTS, SETTINGS, identify, with_networks
    from exatrkx_service.measure.coverage import measure_coverage
    from exatrkx_service.measure.provenance import write

    settings, repository = snakemake.params.settings, Path(snakemake.params.repository)
    pipeline = with_networks(settings["pipeline"])
    inputs = identify(snakemake.input.events, pipeline["networks"], repository)
    events = read_sample(snakemake.input.events)
    rows, blocks, facts = measure_coverage(
        settings["repeats"],
        events,
        pd.read_parquet(snakemake.input.reference),
        repository,
        settings | {"pipeline": pipeline},
        tell,
    )
    rows.attrs = {INPUTS: inputs, SETTINGS: settings}
    rows.to_parquet(snakemake.output.samples, index=False)
    blocks.to_parquet(snakemake.output.blocks, index=False)
    written = (snakemake.output.samples, snakemake.output.blocks)
    write(snakemake.output.provenance, inputs, snakemake.config, settings, facts, written)
