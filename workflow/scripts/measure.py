"""Measures one option in one round; see exatrkx_service.measure.job."""

from exatrkx_service.jobs import logged
from exatrkx_service.serving.process import sigterm_as_exit

with logged(snakemake.log[0]), sigterm_as_exit():
    import json
    import shutil
    import tempfile
    from pathlib import Path

    import pandas as pd

    from exatrkx_service.events.manifest import read_manifests
    from exatrkx_service.events.reader import read_space_points
    from exatrkx_service.measure.job import measure
    from exatrkx_service.measure.provenance import collect
    from exatrkx_service.options import Option

    wildcards, config = snakemake.wildcards, snakemake.params.config
    events = {
        event: read_space_points(folder, event)
        for event, folder in read_manifests(snakemake.input.events).items()
    }
    # A server on another node needs a folder that both nodes see.
    shared = config["server"]["node"] == "other"
    place = Path(snakemake.output.samples).parent.resolve() if shared else None
    with tempfile.TemporaryDirectory(prefix="exatrkx-server-", dir=place) as work:
        try:
            rows, facts = measure(
                Option.from_config(wildcards.option, config["option"]),
                int(wildcards.round),
                events,
                pd.read_parquet(snakemake.input.reference),
                Path("model_repo"),
                config,
                Path(work),
            )
        finally:
            server_log = Path(work) / "server.log"
            if server_log.exists():
                shutil.copy(server_log, snakemake.log.server)
    provenance = collect(Path(snakemake.scriptdir)) | {"config": snakemake.config, "job": facts}
    Path(snakemake.output.provenance).write_text(json.dumps(provenance, indent=1) + "\n")
    rows.to_parquet(snakemake.output.samples, index=False)
