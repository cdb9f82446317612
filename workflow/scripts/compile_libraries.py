"""Compiles what is in C++, where it is wanted and can be."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from exatrkx_service.compiled import make_kernels
    from exatrkx_service.serving.embedded import trace_keeper
    from exatrkx_service.serving.native import choose_backend, describe

    choice = Path(snakemake.output[0])
    with ThreadPoolExecutor() as pool:  # each is a compiler, of most of a minute
        kernels = pool.submit(make_kernels, snakemake.params.kernels)
        backend = pool.submit(choose_backend, choice, snakemake.params.backend, print)
    print(kernels.result())
    print(describe(backend.result()))
    trace_keeper(print)
