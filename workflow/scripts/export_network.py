"""Exports one trained network as TorchScript."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.compiled import kernel_library
    from exatrkx_service.models.export import export

    export(
        snakemake.wildcards.stage,
        snakemake.input.get("weights") or None,
        Path(snakemake.output[0]),
        filter_cut=snakemake.params.filter_cut,
        model=snakemake.params.model,
        kernel_library=kernel_library(snakemake.params.kernels),
    )
