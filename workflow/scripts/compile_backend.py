"""Decides what serves the networks in the embedded server; compiles the native backend."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.serving.native import choose_backend, describe

    choice = choose_backend(Path(snakemake.output[0]), snakemake.params.backend, print)
    print(describe(choice))
