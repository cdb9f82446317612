"""Puts the capacities of all options together."""

from exatrkx_service.jobs import logged

with logged(snakemake.log[0]):
    from exatrkx_service.analysis.capacity import capacity_table, check_capacity, rates_table
    from exatrkx_service.identity import check_outputs

    check_capacity(snakemake.input.requests, snakemake.input.reference, snakemake.params.settings)
    check_outputs(snakemake.input.provenance)
    capacity_table(snakemake.input.provenance).to_csv(snakemake.output.capacity, index=False)
    rates_table(snakemake.input.rates).to_csv(snakemake.output.rates, index=False)
