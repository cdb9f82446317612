# The open loop: how many events per second an option takes. Not part of the default run.


rule measure_capacity:
    input:
        events=manifests("benchmark"),
        models=rules.reference.input.models,
        weights=rules.reference.input.weights,
        reference=rules.reference.output.sizes,
    output:
        requests=f"{RESULTS}/capacity/{{option}}.parquet",
        rates=f"{RESULTS}/capacity/{{option}}.csv",
        provenance=f"{RESULTS}/capacity/{{option}}.json",
    log:
        f"{RESULTS}/logs/capacity/{{option}}.log",
        server=f"{RESULTS}/logs/capacity/{{option}}.server.log",
    benchmark:
        f"{RESULTS}/benchmarks/capacity/{{option}}.tsv"
    conda:
        ENVIRONMENT
    # The whole machine: nothing else may run beside a measurement.
    threads: ALL_CORES
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        settings=lambda wildcards: capacity_settings(wildcards.option),
        networks=NETWORK_STATES,
        seed=1,
        repository=lambda wildcards, input: os.path.commonpath(input.models),
        code=code_digest(CODE),
    message:
        "Searching for the capacity of {wildcards.option}"
    script:
        "../scripts/measure_capacity.py"


rule capacity_table:
    input:
        requests=capacity_files("parquet"),
        rates=capacity_files("csv"),
        provenance=capacity_files("json"),
        reference=rules.reference.output.sizes,
    output:
        capacity=f"{RESULTS}/capacity.csv",
        rates=f"{RESULTS}/capacity_rates.csv",
    log:
        f"{RESULTS}/logs/capacity_table.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings={option: capacity_settings(option) for option in OPTIONS},
        code=code_digest(ANALYSIS_CODE),
    message:
        "Putting the capacities of {OPTIONS} together"
    script:
        "../scripts/capacity_table.py"


rule plot_latency_vs_rate:
    input:
        capacity=rules.capacity_table.output.capacity,
        rates=rules.capacity_table.output.rates,
    output:
        png=f"{RESULTS}/figures/latency_vs_rate.png",
        pdf=f"{RESULTS}/figures/latency_vs_rate.pdf",
    log:
        f"{RESULTS}/logs/plots/latency_vs_rate.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest(ANALYSIS_CODE),
    message:
        "Drawing latency_vs_rate"
    script:
        "../scripts/plot_capacity.py"


rule capacity:
    input:
        rules.capacity_table.output,
        rules.plot_latency_vs_rate.output,
    localrule: True
    message:
        "The capacities are in {RESULTS}/capacity.csv"
