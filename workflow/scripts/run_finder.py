"""Runs a track finder that is called on every event: its tracks and times."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    import tempfile
    from pathlib import Path

    from exatrkx_service.pipeline.device import settle

    method, name = snakemake.params.method, snakemake.params.name
    settle(method["threads"])  # the finder inherits it

    from exatrkx_service.config import METHODS
    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.finders.run import run_finder
    from exatrkx_service.identity import identify
    from exatrkx_service.measure.lock import only_measurement

    events = read_manifests(snakemake.input)
    with tempfile.TemporaryDirectory() as work, only_measurement(name, tell):
        found = run_finder(
            name if name in METHODS else f"physics.methods.{name}",
            method,
            events,
            Path(work),
            threads=method["threads"],
            timeout_s=snakemake.config["physics"]["timeout_s"],
        )
    files = {table: snakemake.output[table] for table in ("tracks", "times")}
    found.write(files, identify(snakemake.input, {}), method)
