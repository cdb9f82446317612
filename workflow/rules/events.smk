# Events: Pythia 8 -> HepMC3 -> ACTS (Fatras, digitisation, space points) -> CSV.


rule generate_events:
    message:
        "Generating events {wildcards.first} to {wildcards.last} of the {wildcards.sample} sample"
    output:
        f"{RESULTS}/events/{{sample}}/events_{{first}}-{{last}}.json",
    log:
        f"{RESULTS}/logs/events/{{sample}}_{{first}}-{{last}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/events/{{sample}}_{{first}}-{{last}}.tsv"
    params:
        settings=lambda wildcards: {
            key: value
            for key, value in sample_config(wildcards.sample).items()
            if key != "n_events"
        },
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    conda:
        ENVIRONMENT
    script:
        "../scripts/generate_events.py"


rule events:
    message:
        "The benchmark's events are in {RESULTS}/events/benchmark"
    localrule: True
    input:
        manifests("benchmark"),
