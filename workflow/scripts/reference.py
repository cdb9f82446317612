"""Runs the pipeline once per event for its tracks and edges, and once more for its times."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    from pathlib import Path

    from exatrkx_service.events.manifest import check_settings, read_manifests
    from exatrkx_service.identity import INPUTS, identify, with_networks
    from exatrkx_service.measure.reference import run_reference
    from exatrkx_service.tracking import read_truth

    check_settings(snakemake.input.events, snakemake.params.events)
    repository = Path(snakemake.params.repository)
    pipeline = with_networks(snakemake.params.pipeline)
    inputs = identify(snakemake.input.events, pipeline["networks"], repository)
    events = read_truth(read_manifests(snakemake.input.events))
    sizes, method = run_reference(events, repository, pipeline, tell)
    sizes.attrs = {INPUTS: inputs}
    sizes.to_parquet(snakemake.output.sizes, index=False)
    files = {name: snakemake.output[name] for name in ("tracks", "times", "edges")}
    method.write(files, inputs, snakemake.params.pipeline)
