# Our driver against Triton's own, perf_analyzer; not part of `all`.


rule measure_agreement:
    input:
        events=manifests("benchmark"),
        models=rules.export.input,
        weights=WEIGHTS,
    output:
        f"{RESULTS}/agreement.csv",
    log:
        f"{RESULTS}/logs/agreement.log",
        server=f"{RESULTS}/logs/agreement.server.log",
    benchmark:
        f"{RESULTS}/benchmarks/agreement.tsv"
    conda:
        ENVIRONMENT
    # The whole machine: nothing else may run beside a measurement.
    threads: ALL_CORES
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        settings={
            **{key: config[key] for key in ("pipeline", "server")},
            "measure": {k: v for k, v in config["measure"].items() if k != "rounds"},
        },
        networks=NETWORK_STATES,
        repository=lambda wildcards, input: os.path.commonpath(input.models),
        cache=".snakemake/perf_analyzer",
        code=code_digest(CODE),
    message:
        "Comparing the driver with perf_analyzer"
    script:
        "../scripts/agreement.py"


rule agreement:
    input:
        rules.measure_agreement.output,
    localrule: True
    message:
        "The driver is compared with perf_analyzer"
