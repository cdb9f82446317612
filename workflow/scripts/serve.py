"""Serves the models until it is told to stop."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]) as tell:
    import tempfile
    from pathlib import Path

    from exatrkx_service.identity import with_networks
    from exatrkx_service.serving.serve import serve_models

    with tempfile.TemporaryDirectory(prefix="exatrkx-server-") as work:
        serve_models(
            Path(snakemake.params.repository),
            Path(work),
            snakemake.params.server,
            with_networks(snakemake.params.pipeline),
            Path(snakemake.log.server),
            tell,
        )
