"""Trains one network; a checkpoint beside the weights lets an interrupted training go on."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    import logging
    import sys
    from pathlib import Path

    import torch

    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.models import training
    from exatrkx_service.pipeline.device import resolve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    torch.set_num_threads(snakemake.threads)
    events = read_manifests(snakemake.input.events)
    folder = Path(snakemake.input.events[0]).parent
    weights = Path(snakemake.output.weights)
    train = getattr(training, f"train_{snakemake.wildcards.stage}")
    metrics = train(
        events,
        *map(Path, snakemake.input.earlier),
        weights,
        snakemake.params.settings,
        # Not a parameter of the rule: another device trains nothing anew.
        device=resolve(snakemake.config["pipeline"]["device"]),
        cache=folder.parent / f".{folder.name}-{weights.stem}.npz",
        checkpoint=weights.with_suffix(".checkpoint"),
    )
    print(metrics)
