"""Puts the settings of the configuration into a copy of the tracked model repository."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.identity import with_networks
    from exatrkx_service.serving.repository import export_repository

    pipeline = with_networks(snakemake.params.pipeline)
    export_repository(Path("model_repo"), Path(snakemake.params.repository), pipeline)
