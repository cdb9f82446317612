"""Describes the sample that is measured."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import json
    from pathlib import Path

    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.events.sample import describe
    from exatrkx_service.tracking import read_truth

    events = read_truth(read_manifests(snakemake.input))
    found = describe(events, snakemake.config["events"], truth=snakemake.params.truth)
    Path(snakemake.output[0]).write_text(json.dumps(found, indent=1) + "\n")
