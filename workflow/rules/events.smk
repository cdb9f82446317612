# Events: Pythia 8 -> HepMC3 -> ACTS (Fatras, digitisation, space points) -> CSV; or from elsewhere.


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
        settings=lambda wildcards: sample_settings(wildcards.sample),
        code=code_digest(EVENTS_CODE),
    message:
        "Generating events {wildcards.first} to {wildcards.last} of the {wildcards.sample} sample"
    script:
        "../scripts/generate_events.py"


rule import_events:
    input:
        lambda wildcards: own_paths("events"),
    output:
        f"{own_folder('events')}/events.json",
        f"{own_folder('events')}/source.json",
    log:
        f"{RESULTS}/logs/events/imported.log",
    benchmark:
        f"{RESULTS}/benchmarks/events/imported.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda wildcards: sample_settings("benchmark"),
        plan=lambda wildcards: own_sample("events").plan,
        code=code_digest(IMPORT_CODE),
    message:
        f"Reading the events in {config['events'].get('path')}"
    script:
        "../scripts/import_events.py"


use rule import_events as import_training with:
    input:
        files=lambda wildcards: own_paths("train"),
        # No event may be in both. Others that are measured later train nothing anew.
        measured=ancient(manifests("benchmark")) if OWN_EVENTS else [],
    output:
        f"{own_folder('train')}/events.json",
        f"{own_folder('train')}/source.json",
    log:
        f"{RESULTS}/logs/events/imported_train.log",
    benchmark:
        f"{RESULTS}/benchmarks/events/imported_train.tsv"
    params:
        settings=lambda wildcards: sample_settings("train"),
        plan=lambda wildcards: own_sample("train").plan,
        code=code_digest(IMPORT_CODE),
    message:
        f"Reading the events to train on in {config['train'].get('path')}"


rule describe_sample:
    input:
        manifests("benchmark"),
    output:
        f"{RESULTS}/sample.json",
    log:
        f"{RESULTS}/logs/events/sample.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        events=sample_settings("benchmark"),
        code=code_digest(IMPORT_CODE),
    message:
        "Describing the sample"
    script:
        "../scripts/sample.py"


rule events:
    input:
        manifests("benchmark"),
        rules.describe_sample.output,
    localrule: True
    message:
        "The benchmark's events are in {RESULTS}/events, and described in {RESULTS}/sample.json"
