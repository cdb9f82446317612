# How well each track finder of METHODS finds tracks: the table, its figures, an event display.


rule find_tracks:
    input:
        events=manifests("benchmark"),
        weights=method_weights,
        libraries=rules.compile_libraries.output,
    output:
        **method_files("methods/{method}", "tracks", "times", "edges"),
    log:
        f"{RESULTS}/logs/methods/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/methods/{{method}}.tsv"
    conda:
        ENVIRONMENT
    # As the rule reference: it is timed, with `pipeline.threads`.
    threads: ALL_CORES
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        pipeline=method_pipeline,
        networks=method_networks,
        code=code_digest((*CODE, *EXPORT_CODE)),
    message:
        "Finding the tracks with {wildcards.method}"
    script:
        "../scripts/find_tracks.py"


rule physics_table:
    input:
        events=known_events,
        results=[path for files in METHODS.values() for path in files.values()],
        weights=ALL_WEIGHTS,
    output:
        table=report(
            f"{RESULTS}/physics.csv",
            caption="../report/physics.rst",
            category="Tables",
        ),
    log:
        f"{RESULTS}/logs/physics.log",
    benchmark:
        f"{RESULTS}/benchmarks/physics.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        **config["analysis"],
        methods=METHODS,
        settings={name: METHOD_SETTINGS[name] for name in METHODS},
        code=code_digest(ANALYSIS_CODE),
    message:
        f"Comparing the tracks of {', '.join(METHODS)} with the truth"
    script:
        "../scripts/physics.py"


rule plot_physics:
    input:
        physics=rules.physics_table.output.table,
        events=rules.physics_table.input.events,
        tracks=METHODS["exatrkx"]["tracks"],
    output:
        **figure_files(PHYSICS_FIGURES),
    log:
        f"{RESULTS}/logs/plots/physics.log",
    benchmark:
        f"{RESULTS}/benchmarks/plots/physics.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        confidence_level=config["analysis"]["confidence_level"],
        code=code_digest(ANALYSIS_CODE),
    message:
        f"Drawing {', '.join(PHYSICS_FIGURES)}"
    script:
        "../scripts/plot.py"


rule physics:
    input:
        physics_files,
    localrule: True
    message:
        "How well tracks are found: {RESULTS}/physics.csv, and figures in {RESULTS}/figures"
