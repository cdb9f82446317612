"""Runs the pipeline once per event: sizes, labels and how well it tracks."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import json
    from pathlib import Path

    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.measure.reference import run_reference

    events = read_manifests(snakemake.input.events)
    table, physics, _ = run_reference(events, Path("model_repo"), snakemake.params.pipeline)
    table.to_parquet(snakemake.output.sizes, index=False)
    Path(snakemake.output.physics).write_text(json.dumps(physics, indent=1) + "\n")
