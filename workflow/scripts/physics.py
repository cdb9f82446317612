"""Measures how well every method finds tracks."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from exatrkx_service.analysis.physics import physics_table
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.identity import identify
    from exatrkx_service.tracking import check_origin, read_method, read_truth

    events, methods = identify(snakemake.input.events, {}), snakemake.params.methods
    for name, files in methods.items():
        check_origin(name, files, events, snakemake.params.settings[name])
    table = physics_table(
        read_truth(read_manifests(snakemake.input.events)),
        {name: read_method(files) for name, files in methods.items()},
        confidence_level=snakemake.params.confidence_level,
    )
    table.to_csv(snakemake.output.table, index=False)
