"""Runs the pipeline once per event for its tracks and edges, and once more for its times."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.analysis.physics import read_truth
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.measure.reference import run_reference

    events = read_truth(read_manifests(snakemake.input.events))
    sizes, method = run_reference(events, Path("model_repo"), snakemake.params.pipeline)
    sizes.to_parquet(snakemake.output.sizes, index=False)
    method.write({name: snakemake.output[name] for name in ("tracks", "times", "edges")})
