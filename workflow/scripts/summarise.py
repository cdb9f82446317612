"""Aggregates raw samples and blocks: summary, breakdown, costs, provenance."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import json
    from pathlib import Path

    from exatrkx_service.analysis.batches import per_event, with_batches
    from exatrkx_service.analysis.breakdown import breakdown, unattributed_share
    from exatrkx_service.analysis.cells import comparable
    from exatrkx_service.analysis.checks import (
        check_inputs,
        check_parts,
        combine_provenance,
        environment_warnings,
        span_warnings,
        untimed_share,
    )
    from exatrkx_service.analysis.computing import computing
    from exatrkx_service.analysis.summary import cost_table, summarise
    from exatrkx_service.analysis.timings import (
        in_blocks,
        kept_blocks,
        read_blocks,
        read_reference,
        read_timings,
    )
    from exatrkx_service.identity import check_outputs

    check_inputs(snakemake.input.samples, snakemake.input.reference, snakemake.params.settings)
    check_outputs(snakemake.input.provenance)
    samples = read_timings(snakemake.input.samples)
    check_parts(samples)
    blocks = read_blocks(snakemake.input.blocks)
    jobs = {}
    for path in map(Path, snakemake.input.provenance):
        record = json.loads(path.read_text())
        # What these tables were made with: the jobs only measured.
        record["config"]["analysis"] = snakemake.config["analysis"]
        jobs[f"{path.parent.name}/{path.stem}"] = record
    reference = read_reference(snakemake.input.reference)
    options = {name: given["option"] for name, given in snakemake.params.settings.items()}
    level, min_blocks = snakemake.params.confidence_level, snakemake.params.min_blocks
    summary = summarise(
        samples,
        blocks,
        with_batches(reference, options),
        jobs,
        confidence_level=level,
        precision=snakemake.params.precision,
        min_blocks=min_blocks,
    )
    shown = comparable(samples, blocks, summary, min_blocks)
    tables = {
        "summary": summary,
        "breakdown": breakdown(shown, confidence_level=level),
        "cost": cost_table(summary),
    }
    if hasattr(snakemake.output, "batches"):
        tables["batches"] = per_event(summary, options)
    for name, table in tables.items():
        table.to_csv(snakemake.output[name], index=False)
    kept = in_blocks(samples, kept_blocks(blocks, min_blocks))
    provenance = combine_provenance(jobs) | {
        "computing": computing(kept, summary).to_dict("records"),
        "unattributed": max(unattributed_share(shown), default=0),
        "warnings": environment_warnings(jobs) + span_warnings(jobs),
        "outside_timed_windows": untimed_share(jobs),
    }
    Path(snakemake.output.provenance).write_text(json.dumps(provenance, indent=1) + "\n")
