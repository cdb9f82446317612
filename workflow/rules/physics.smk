# How well each track finder of METHODS finds tracks: the table, its figures, an event display.


rule find_tracks:
    input:
        events=manifests("benchmark"),
        weights=method_weights,
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
        code=code_digest(CODE),
    message:
        "Finding the tracks with {wildcards.method}"
    script:
        "../scripts/find_tracks.py"


rule physics_table:
    input:
        events=manifests("benchmark"),
        results=[path for files in METHODS.values() for path in files.values()],
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
        settings=METHOD_SETTINGS,
        code=code_digest(ANALYSIS_CODE),
    message:
        f"Comparing the tracks of {', '.join(METHODS)} with the truth"
    script:
        "../scripts/physics.py"


# As in plots.smk: a rule per figure.
for figure, category in PHYSICS_FIGURES.items():

    rule:
        name:
            f"plot_{figure}"
        input:
            physics=rules.physics_table.output.table,
            events=rules.physics_table.input.events,
            tracks=METHODS["exatrkx"]["tracks"],
        output:
            png=report(
                f"{RESULTS}/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category=category,
            ),
            pdf=f"{RESULTS}/figures/{figure}.pdf",
        log:
            f"{RESULTS}/logs/plots/{figure}.log",
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=4000,
            runtime=10,
        params:
            figure=figure,
            confidence_level=config["analysis"]["confidence_level"],
            code=code_digest(ANALYSIS_CODE),
        message:
            f"Drawing {figure}"
        script:
            "../scripts/plot.py"


rule physics:
    input:
        rules.physics_table.output,
        expand(
            f"{RESULTS}/figures/{{figure}}.{{format}}",
            figure=(*PHYSICS_FIGURES, *NETWORK_FIGURES),
            format=["png", "pdf"],
        ),
    localrule: True
    message:
        "How well tracks are found: {RESULTS}/physics.csv, and figures in {RESULTS}/figures"
