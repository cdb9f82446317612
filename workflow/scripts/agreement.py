"""Compares the driver with perf_analyzer; see exatrkx_service.measure.agreement."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    import tempfile
    from pathlib import Path

    from exatrkx_service.events.manifest import read_sample
    from exatrkx_service.identity import with_networks
    from exatrkx_service.measure.agreement import measure_agreement

    settings = snakemake.params.settings
    events = read_sample(snakemake.input.events)
    with tempfile.TemporaryDirectory(prefix="exatrkx-server-") as work:
        table = measure_agreement(
            events,
            Path(snakemake.params.repository),
            settings | {"pipeline": with_networks(settings["pipeline"])},
            Path(snakemake.params.cache),
            Path(work),
            Path(snakemake.log.server),
            tell,
        )
    table.round(4).to_csv(snakemake.output[0], index=False)
