# How well each track finder of METHODS finds tracks: the table, its figures, an event display.


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
    message:
        f"Comparing the tracks of {', '.join(METHODS)} with the truth"
    script:
        "../scripts/physics.py"


rule physics:
    input:
        rules.physics_table.output,
    localrule: True
    message:
        "How well the tracks are found is in {RESULTS}/physics.csv"
