"""Aggregates raw samples: summary, breakdown, cost against S0, provenance."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import json
    from pathlib import Path

    from exatrkx_service.analysis.checks import (
        check_sums,
        combine_provenance,
        span_warnings,
        stability_warnings,
        untimed_share,
    )
    from exatrkx_service.analysis.summary import breakdown, cost_vs_s0, summarise
    from exatrkx_service.analysis.timings import read_reference, read_timings

    samples = read_timings(snakemake.input.samples)
    reference = read_reference(snakemake.input.reference)
    settings = {
        "confidence_level": snakemake.params.confidence_level,
        "resamples": snakemake.params.bootstrap_resamples,
        "seed": 0,
    }
    for table in (summarise, breakdown, cost_vs_s0):
        name = {"summarise": "summary", "cost_vs_s0": "cost"}.get(table.__name__, table.__name__)
        table(samples, reference, **settings).to_csv(snakemake.output[name], index=False)
    jobs = {}
    for path in map(Path, snakemake.input.provenance):
        jobs[f"{path.parent.name}/{path.stem}"] = json.loads(path.read_text())
    provenance = combine_provenance(jobs) | {
        "largest_gap": check_sums(samples),
        "warnings": stability_warnings(samples) + span_warnings(jobs),
        "outside_timed_windows": untimed_share(jobs),
    }
    Path(snakemake.output.provenance).write_text(json.dumps(provenance, indent=1) + "\n")
