"""Measures trained networks on the benchmark's events and writes their card beside them."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    import tempfile
    from pathlib import Path

    from exatrkx_service.pipeline.device import settle

    settle(snakemake.params.pipeline["threads"])  # before the export imports torch

    from exatrkx_service.analysis.physics import DEFINITIONS, physics_table, tracking_performance
    from exatrkx_service.events.manifest import read_manifests, read_sample
    from exatrkx_service.events.sample import check_apart
    from exatrkx_service.identity import with_networks
    from exatrkx_service.measure.provenance import collect
    from exatrkx_service.measure.reference import run_reference
    from exatrkx_service.models.card import describe_data, intended_use, write_card
    from exatrkx_service.models.export import export_all
    from exatrkx_service.tracking import read_truth

    # Generated ones, which have a seed of their own, are not among the inputs.
    training = read_sample(snakemake.input.get("training", []))
    check_apart(training, read_sample(snakemake.input.events) if training else {})
    folder = Path(snakemake.input.weights[0]).parent
    pipeline = with_networks(snakemake.params.pipeline | {"weights": str(folder)})
    level = snakemake.params.confidence_level
    events = read_truth(read_manifests(snakemake.input.events))
    with tempfile.TemporaryDirectory() as repository:
        export_all(folder, Path(repository), pipeline)
        _, method = run_reference(events, Path(repository), pipeline, tell)
    table = physics_table(
        events,
        {"exatrkx": method},
        confidence_level=level,
    )
    record = collect(Path.cwd())
    data = describe_data(snakemake.params.training, snakemake.params.evaluation, record)
    performance = tracking_performance(table, "exatrkx")
    write_card(
        folder,
        intended_use(snakemake.params.training),
        data,
        pipeline,
        performance,
        method.step_ms(),
        definitions=DEFINITIONS,
        confidence_level=level,
    )
