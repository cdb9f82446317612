# Measuring: one job per option and round owns its server and sweeps the concurrencies.


rule reference:
    input:
        events=manifests("benchmark"),
        models=rules.export.input,
        weights=WEIGHTS,
    output:
        **METHODS["exatrkx"],
        sizes=f"{RESULTS}/reference.parquet",
    log:
        f"{RESULTS}/logs/reference.log",
    benchmark:
        f"{RESULTS}/benchmarks/reference.tsv"
    conda:
        ENVIRONMENT
    # The whole machine: its times are the pipeline's own, with `pipeline.threads`.
    threads: ALL_CORES
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        events=sample_settings("benchmark"),
        pipeline=config["pipeline"],
        networks=NETWORK_STATES,
        repository=lambda wildcards, input: os.path.commonpath(input.models),
        code=code_digest(CODE),
    message:
        "Finding the tracks that every option must give"
    script:
        "../scripts/reference.py"


rule measure:
    input:
        events=manifests("benchmark"),
        models=rules.reference.input.models,
        weights=rules.reference.input.weights,
        reference=rules.reference.output.sizes,
    output:
        samples=f"{RESULTS}/timings/{{option}}/round{{round}}.parquet",
        blocks=f"{RESULTS}/timings/{{option}}/round{{round}}.blocks.parquet",
        provenance=f"{RESULTS}/timings/{{option}}/round{{round}}.json",
    log:
        f"{RESULTS}/logs/measure/{{option}}_round{{round}}.log",
        server=f"{RESULTS}/logs/measure/{{option}}_round{{round}}.server.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{option}}_round{{round}}.tsv"
    # Interleaved, so that a drift of the machine hits all options alike.
    priority: turn
    conda:
        ENVIRONMENT
    # The whole machine: nothing else may run beside a measurement.
    threads: ALL_CORES
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        settings=lambda wildcards: measured_settings(wildcards.option),
        networks=NETWORK_STATES,
        repository=lambda wildcards, input: os.path.commonpath(input.models),
        code=code_digest(CODE),
    message:
        "Measuring {wildcards.option}, round {wildcards.round}"
    script:
        "../scripts/measure.py"


for option in OPTIONS:

    rule:
        name:
            option
        input:
            timings(option),
        localrule: True
        message:
            f"{option} is measured, {RESULTS}/timings/{option}; `snakemake aggregate` makes the tables"


for option in LEFT_OUT:

    rule:
        name:
            option
        input:
            left_out_files(option),
        localrule: True
