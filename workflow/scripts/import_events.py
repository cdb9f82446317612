"""Takes in events from elsewhere."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.events.sample import take_in

    params, measured = snakemake.params, snakemake.input.get("measured", [])
    take_in(Path(snakemake.output[0]), params.settings, params.code, params.plan, measured)
