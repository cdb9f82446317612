# What to think of the numbers: against another run, and of their intervals.


rule compare:
    input:
        unpack(baseline_files),
        summary=rules.summarise.output.summary,
        provenance=rules.summarise.output.provenance,
    output:
        changes=report(
            f"{RESULTS}/compare/changes.csv",
            caption="../report/changes.rst",
            category="Compared with another run",
        ),
        provenance=f"{RESULTS}/compare/provenance.csv",
        png=report(
            f"{RESULTS}/compare/changes.png",
            caption="../report/changes.rst",
            category="Compared with another run",
        ),
        pdf=f"{RESULTS}/compare/changes.pdf",
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest(ANALYSIS_CODE),
    message:
        "Comparing {RESULTS} with {config[baseline]}"
    script:
        "../scripts/compare.py"


rule measure_coverage:
    input:
        events=manifests("benchmark"),
        models=rules.reference.input.models,
        weights=rules.reference.input.weights,
        reference=rules.reference.output.sizes,
    output:
        samples=f"{RESULTS}/coverage/samples.parquet",
        blocks=f"{RESULTS}/coverage/blocks.parquet",
        provenance=f"{RESULTS}/coverage/provenance.json",
    log:
        f"{RESULTS}/logs/measure_coverage.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_coverage.tsv"
    conda:
        ENVIRONMENT
    # The whole machine, as for a measurement.
    threads: ALL_CORES
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        settings={
            "pipeline": config["pipeline"],
            "repeats": config["coverage"]["repeats"],
            "measure": config["measure"]
            | {"concurrency": config["coverage"]["concurrency"], "rounds": 1},
        },
        networks=NETWORK_STATES,
        repository=lambda wildcards, input: os.path.commonpath(input.models),
        code=code_digest(CODE),
    message:
        "Measuring S0 against itself, {config[coverage][repeats]} times"
    script:
        "../scripts/measure_coverage.py"


rule coverage:
    input:
        samples=rules.measure_coverage.output.samples,
        blocks=rules.measure_coverage.output.blocks,
        provenance=rules.measure_coverage.output.provenance,
        reference=rules.reference.output.sizes,
    output:
        table=report(
            f"{RESULTS}/coverage.csv",
            caption="../report/coverage.rst",
            category="Tables",
        ),
        png=report(
            f"{RESULTS}/figures/coverage.png",
            caption="../report/coverage.rst",
            category="Trust",
        ),
        pdf=f"{RESULTS}/figures/coverage.pdf",
    log:
        f"{RESULTS}/logs/coverage.log",
    benchmark:
        f"{RESULTS}/benchmarks/coverage.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        confidence_level=config["analysis"]["confidence_level"],
        min_blocks=BLOCK_RULES["min_blocks"],
        code=code_digest(ANALYSIS_CODE),
    message:
        "How often does the interval of S0 against itself hold zero?"
    script:
        "../scripts/coverage_table.py"


rule speed:
    input:
        unpack(compared_builds),
        events=manifests("benchmark"),
        libraries=rules.compile_libraries.output,
    output:
        table=f"{RESULTS}/speed.csv",
        samples=f"{RESULTS}/speed/samples.parquet",
    log:
        f"{RESULTS}/logs/speed.log",
    benchmark:
        f"{RESULTS}/benchmarks/speed.tsv"
    conda:
        ENVIRONMENT
    # The whole machine, as for a measurement.
    threads: ALL_CORES
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        **config["speed"],
        confidence_level=config["analysis"]["confidence_level"],
        this=lambda wildcards: checkout_digest(ROOT),
        other=lambda wildcards: checkout_digest(config["speed"]["against"]),
    message:
        "Timing this build against another, event by event"
    script:
        "../scripts/speed.py"
