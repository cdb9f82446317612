"""Measures one option in one round; see exatrkx_service.measure.job."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    import tempfile
    from pathlib import Path

    import pandas as pd

    from exatrkx_service.events.manifest import read_sample
    from exatrkx_service.identity import INPUTS, SETTINGS, identify, with_networks
    from exatrkx_service.measure.job import measure
    from exatrkx_service.measure.provenance import write
    from exatrkx_service.options import Option

    wildcards, settings = snakemake.wildcards, snakemake.params.settings
    repository = Path(snakemake.params.repository)
    pipeline = with_networks(settings["pipeline"])
    inputs = identify(snakemake.input.events, pipeline["networks"], repository)
    columns = "columns" in settings["server"].get("model", {})
    events = read_sample(snakemake.input.events, columns)
    # A server on another node needs a folder that both nodes see.
    shared = settings["server"]["node"] == "other"
    place = Path(snakemake.output.samples).parent.resolve() if shared else None
    with tempfile.TemporaryDirectory(prefix="exatrkx-server-", dir=place) as work:
        rows, blocks, facts = measure(
            Option.from_config(wildcards.option, settings["option"], settings["server"]),
            int(wildcards.round),
            events,
            pd.read_parquet(snakemake.input.reference),
            repository,
            settings | {"pipeline": pipeline},
            Path(work),
            Path(snakemake.log.server),
            tell,
        )
    rows.attrs = {INPUTS: inputs, SETTINGS: settings}
    rows.to_parquet(snakemake.output.samples, index=False)
    blocks.to_parquet(snakemake.output.blocks, index=False)
    written = (snakemake.output.samples, snakemake.output.blocks)
    write(snakemake.output.provenance, inputs, snakemake.config, settings, facts, written)
