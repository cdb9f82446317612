"""Measures how well every method finds tracks."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from exatrkx_service.analysis.physics import physics_table
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.identity import INPUTS, SETTINGS, attributes_of, check_same, identify
    from exatrkx_service.tracking import read_method, read_truth

    events = identify(snakemake.input.events, {})
    for name, files in snakemake.params.methods.items():
        for file in files.values():
            found, settings = attributes_of(file), snakemake.params.settings[name]
            check_same(found.get(INPUTS, {}), events, file, "the events")
            check_same(found.get(SETTINGS, {}), settings, file, f"the configuration of {name}")
    table = physics_table(
        read_truth(read_manifests(snakemake.input.events)),
        {name: read_method(files) for name, files in snakemake.params.methods.items()},
        confidence_level=snakemake.params.confidence_level,
    )
    table.to_csv(snakemake.output.table, index=False)
