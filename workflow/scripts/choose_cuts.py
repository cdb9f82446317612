"""Chooses the working point of trained networks on the validation events."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    from pathlib import Path

    import torch

    from exatrkx_service.analysis.cuts import scan_cuts, working_point
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.models.data import split_sample
    from exatrkx_service.pipeline.device import resolve

    torch.set_num_threads(snakemake.threads)
    folder = Path(snakemake.input.weights[0]).parent
    events = read_manifests(snakemake.input.events)
    _, validation = split_sample(list(events), snakemake.params.validation_fraction)
    table = scan_cuts(
        {number: events[number] for number in validation},
        folder,
        snakemake.params.training_radius,
        snakemake.params.k_max,
        resolve(snakemake.config["pipeline"]["device"]),
    )
    table.to_csv(snakemake.output.scan, index=False)
    overlay, missed = working_point(table, str(folder), len(validation))
    Path(snakemake.output.overlay).write_text(overlay)
    print(overlay)
    for line in missed:
        tell(f"warning: {line} (log: {snakemake.log[0]})")
