"""Compiles what is in C++, where it is wanted and can be."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from pathlib import Path

    from exatrkx_service.compiled import make_kernels
    from exatrkx_service.serving.embedded import trace_keeper
    from exatrkx_service.serving.native import choose_backend, describe

    print(make_kernels(snakemake.params.kernels))
    print(describe(choose_backend(Path(snakemake.output[0]), snakemake.params.backend, print)))
    trace_keeper(print)
