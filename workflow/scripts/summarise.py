"""Aggregates raw samples: summary, breakdown, cost against S0, provenance."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import json
    from pathlib import Path

    from exatrkx_service.analysis.checks import (
        check_inputs,
        check_sums,
        combine_provenance,
        environment_warnings,
        span_warnings,
        untimed_share,
    )
    from exatrkx_service.analysis.summary import breakdown, cost_vs_s0, summarise
    from exatrkx_service.analysis.timings import read_reference, read_timings

    check_inputs(snakemake.input.samples, snakemake.input.reference, snakemake.params.settings)
    samples = read_timings(snakemake.input.samples)
    reference = read_reference(snakemake.input.reference)
    settings = {
        "confidence_level": snakemake.params.confidence_level,
        "resamples": snakemake.params.bootstrap_resamples,
        "seed": 0,
    }
    jobs = {}
    for path in map(Path, snakemake.input.provenance):
        jobs[f"{path.parent.name}/{path.stem}"] = json.loads(path.read_text())
    tables = {
        "summary": summarise(samples, reference, jobs, **settings),
        "breakdown": breakdown(samples, reference, **settings),
        "cost": cost_vs_s0(samples, reference, **settings),
    }
    for name, table in tables.items():
        table.to_csv(snakemake.output[name], index=False)
    provenance = combine_provenance(jobs) | {
        "largest_gap": check_sums(samples),
        "warnings": environment_warnings(jobs) + span_warnings(jobs),
        "outside_timed_windows": untimed_share(jobs),
    }
    Path(snakemake.output.provenance).write_text(json.dumps(provenance, indent=1) + "\n")
