"""Runs the pipeline of a method on every event: its tracks, edges and times."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    import tempfile
    from pathlib import Path

    from exatrkx_service.pipeline.device import settle

    settle(snakemake.params.pipeline["threads"])  # before the export imports torch

    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.identity import identify, with_networks
    from exatrkx_service.measure.reference import run_reference
    from exatrkx_service.models.export import export_all
    from exatrkx_service.tracking import read_truth

    pipeline = with_networks(snakemake.params.pipeline)
    inputs = identify(snakemake.input.events, pipeline["networks"])
    events = read_truth(read_manifests(snakemake.input.events))
    with tempfile.TemporaryDirectory() as repository:
        export_all(Path(pipeline["weights"]), Path(repository), pipeline)
        _, method = run_reference(events, Path(repository), pipeline, tell)
    files = {name: snakemake.output[name] for name in ("tracks", "times", "edges")}
    method.write(files, inputs, snakemake.params.pipeline)
