"""Generates one chunk of a sample and writes its manifest."""

from pathlib import Path

from exatrkx_service.events.generate import generate
from exatrkx_service.events.manifest import write_manifest
from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    manifest = Path(snakemake.output[0])
    first, last = int(snakemake.wildcards.first), int(snakemake.wildcards.last)
    settings = dict(snakemake.params.settings)
    generate(manifest.parent, settings, first, last - first + 1, threads=snakemake.threads)
    write_manifest(manifest, settings, range(first, last + 1), snakemake.params.code)
