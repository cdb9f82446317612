"""Writes the self-contained HTML report."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import json
    from pathlib import Path

    from exatrkx_service.analysis.report import render
    from exatrkx_service.analysis.table import read_summary, read_table
    from exatrkx_service.analysis.timings import read_blocks
    from exatrkx_service.identity import check_same

    provenance = json.loads(Path(snakemake.input.provenance).read_text())
    sample = json.loads(Path(snakemake.input.sample).read_text())
    measured = provenance["common"]["inputs"]
    check_same(sample, {"events_sha256": measured["events_sha256"]}, snakemake.input.sample, "jobs")
    page = render(
        read_summary(snakemake.input.summary),
        read_table(snakemake.input.breakdown),
        {Path(path).stem: Path(path) for path in snakemake.input.figures},
        {Path(path).stem: Path(path) for path in snakemake.input.captions},
        provenance,
        physics=read_table(physics) if (physics := snakemake.input.get("physics")) else None,
        sample=sample,
        blocks=read_blocks(snakemake.input.blocks),
        config=snakemake.config,
        computing=provenance["computing"],
        unattributed=provenance["unattributed"],
        warnings=provenance["warnings"],
    )
    Path(snakemake.output[0]).write_text(page)
