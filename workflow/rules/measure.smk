# Measuring: one job per option and round owns its server and sweeps the concurrencies.


rule reference:
    message:
        "Finding the tracks that every option must give"
    input:
        events=manifests("benchmark"),
        models=expand(rules.export_network.output, stage=NETWORKS),
    output:
        sizes=f"{RESULTS}/reference.parquet",
        physics=f"{RESULTS}/physics.json",
    log:
        f"{RESULTS}/logs/reference.log",
    benchmark:
        f"{RESULTS}/benchmarks/reference.tsv"
    params:
        pipeline=config["pipeline"],
    threads: config["pipeline"]["threads"]
    resources:
        mem_mb=4000,
        runtime=30,
    conda:
        ENVIRONMENT
    script:
        "../scripts/reference.py"


rule measure:
    message:
        "Measuring {wildcards.option}, round {wildcards.round} of {config[measure][rounds]}"
    input:
        events=manifests("benchmark"),
        models=rules.reference.input.models,
        reference=rules.reference.output.sizes,
    output:
        samples=f"{RESULTS}/timings/{{option}}/round{{round}}.parquet",
        provenance=f"{RESULTS}/timings/{{option}}/round{{round}}.json",
    log:
        f"{RESULTS}/logs/measure/{{option}}_round{{round}}.log",
        server=f"{RESULTS}/logs/measure/{{option}}_round{{round}}.server.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure/{{option}}_round{{round}}.tsv"
    params:
        config=lambda wildcards: {
            **{key: config[key] for key in ("pipeline", "server", "measure")},
            "option": config["options"][wildcards.option],
        },
    # The whole machine: nothing else may run beside a measurement.
    threads: workflow.cores or 2
    # Round by round over all options, so that a drift of the machine hits all alike.
    priority: lambda wildcards: 1000 - int(wildcards.round)
    resources:
        mem_mb=8000,
        runtime=60,
    conda:
        ENVIRONMENT
    script:
        "../scripts/measure.py"


for option in OPTIONS:

    rule:
        name:
            option
        message:
            f"{option} is measured"
        localrule: True
        input:
            timings(option),
