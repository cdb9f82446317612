"""Describes the sample that is measured."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import json
    from pathlib import Path

    from exatrkx_service.events.sample import describe

    found = describe(snakemake.input, snakemake.config["events"])
    Path(snakemake.output[0]).write_text(json.dumps(found, indent=1) + "\n")
