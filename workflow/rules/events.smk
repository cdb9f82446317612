# Events: Pythia 8 -> HepMC3 -> ACTS (Fatras, digitisation, space points) -> CSV.


rule generate_events:
    output:
        f"{RESULTS}/events/{{sample}}/events_{{first}}-{{last}}.json",
    log:
        f"{RESULTS}/logs/events/{{sample}}_{{first}}-{{last}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/events/{{sample}}_{{first}}-{{last}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda wildcards: generator_settings(wildcards.sample),
        code=code_digest(EVENTS_CODE),
    message:
        "Generating events {wildcards.first} to {wildcards.last} of the {wildcards.sample} sample"
    script:
        "../scripts/generate_events.py"


rule events:
    input:
        manifests("benchmark"),
    localrule: True
    message:
        "The benchmark's events are in {RESULTS}/events/benchmark"
