# Track finders that are called: one's own, and the yardstick, the CKF of ACTS, which needs no networks.


rule run_finder:
    input:
        manifests("benchmark"),
    output:
        **method_files("{finder}", "tracks", "times"),
    log:
        f"{RESULTS}/logs/{{finder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{finder}}.tsv"
    conda:
        ENVIRONMENT
    # As the rule reference: it is timed, with `pipeline.threads`.
    threads: ALL_CORES
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        name=finder_name,
        method=finder_settings,
        code=code_digest(FINDER_CODE),
    message:
        "Finding the tracks with {params.name}"
    script:
        "../scripts/run_finder.py"


rule ckf:
    input:
        ckf_files,
    localrule: True
    message:
        "The tracks of the CKF are in {RESULTS}/baseline"
