"""Finds the capacity of one option; see exatrkx_service.measure.capacity."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    import tempfile
    from pathlib import Path

    import pandas as pd

    from exatrkx_service.events.manifest import read_sample
    from exatrkx_service.identity import INPUTS, SETTINGS, identify, with_networks
    from exatrkx_service.measure.capacity import measure_capacity
    from exatrkx_service.measure.provenance import write
    from exatrkx_service.options import Option

    settings = snakemake.params.settings
    repository = Path(snakemake.params.repository)
    pipeline = with_networks(settings["pipeline"])
    inputs = identify(snakemake.input.events, pipeline["networks"], repository)
    columns = "columns" in settings["server"].get("model", {})
    events = read_sample(snakemake.input.events, columns)
    # A server on another node needs a folder that both nodes see.
    shared = settings["server"]["node"] == "other"
    place = Path(snakemake.output.requests).parent.resolve() if shared else None
    with tempfile.TemporaryDirectory(prefix="exatrkx-server-", dir=place) as work:
        requests, rates, facts = measure_capacity(
            Option.from_config(snakemake.wildcards.option, settings["option"], settings["server"]),
            snakemake.params.seed,
            events,
            pd.read_parquet(snakemake.input.reference),
            repository,
            settings | {"pipeline": pipeline},
            Path(work),
            Path(snakemake.log.server),
            tell,
        )
    requests.attrs = {INPUTS: inputs, SETTINGS: settings}
    requests.to_parquet(snakemake.output.requests, index=False)
    rates.to_csv(snakemake.output.rates, index=False)
    written = (snakemake.output.requests, snakemake.output.rates)
    write(snakemake.output.provenance, inputs, snakemake.config, settings, facts, written)
